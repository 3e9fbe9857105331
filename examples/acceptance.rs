//! The acceptance run: one life of a deployment on the AWS account that the environment leads to, and a report on what
//! AWS did. `docs/acceptance.md` says how to run it and what it costs.
//!
//! ```text
//! cargo build && cargo run --example acceptance -- --region eu-central-1 --yes-this-costs-money
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use acceptance::{AUTHORIZER, NAME, Options, Processes, ROLE, STACK, TWIN, YOUNG, live};
use chatctl::config::{Config, Settings};
use chatctl::host::Host;
use clap::Parser;
use support::Process;
use tokio::signal::unix::{SignalKind, signal};
use world::{Switches, World};

/// Lives one life of a deployment on a real AWS account and reports what AWS did.
#[derive(Parser)]
struct Arguments {
    /// The region; the account is the one of the environment's credentials
    #[arg(long)]
    region: String,
    /// That it may be made, used and removed
    #[arg(long)]
    yes_this_costs_money: bool,
    /// How many clients connect at once, one verification each
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    clients: Vec<u32>,
    /// Only the steps that have this in their names, after a fresh `up`
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where `acceptance.md` and `acceptance.json` go
    #[arg(long, default_value = ".")]
    report: PathBuf,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    if !arguments.yes_this_costs_money {
        eprintln!("{}", warning(&arguments.region));
        return Ok(ExitCode::from(2));
    }
    let exe = std::env::current_exe()?;
    let program = exe.ancestors().nth(2).ok_or("this program lies in no target folder")?.join("chatctl");
    if !program.exists() {
        return Err(format!("`{}` is missing: run `cargo build` first", program.display()).into());
    }
    // No settings but those of the life itself: neither a file in this folder nor a variable counts.
    let folder = support::Folder::new();
    let mut host = Host { cwd: folder.0.clone(), ..Host::of_this_process()? };
    host.env.0.retain(|name, _| !name.starts_with("CHATCTL_"));
    host.env.0.insert("AWS_REGION".to_owned(), arguments.region.clone());
    let settings = Settings { region: Some(arguments.region.clone()), ..Settings::default() };
    let config = Config::resolve(settings, &host).map_err(|error| error.to_string())?;
    let sdk = chatctl::aws::sdk_config(&config, &host, None).await;
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (interrupt, mut signals) = (host.interrupt.clone(), signal(kind)?);
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                eprintln!("stopping; what was made is removed first");
                interrupt.raise();
            }
        });
    }
    let place = Processes::new(program, folder.0.clone(), host.env.0, sdk, host.interrupt);
    let options = Options {
        only: arguments.only,
        crowds: arguments.clients,
        kills: [500, 2_000, 6_000, 12_000].map(Duration::from_millis).into(),
        idle: Some(Duration::from_secs(11 * 60)),
        told: Box::new(|step| eprintln!("{step}")),
    };
    let mut report = live(&place, &options).await;
    report.waterfalls.push(("on the model of AWS in tests/world".to_owned(), on_the_model()?));
    let files =
        BTreeMap::from([("acceptance.md", report.markdown()), ("acceptance.json", format!("{:#}\n", report.json()))]);
    for (name, text) in files {
        let path = arguments.report.join(name);
        std::fs::write(&path, text)?;
        println!("{}", path.display());
    }
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn warning(region: &str) -> String {
    format!(
        "This makes resources in your AWS account, in {region}, uses them for about an hour, and removes them:
  - a deployment named `{NAME}` with a time to live of at most eight hours: a WebSocket API, three Lambda functions
    with roles and log groups, a DynamoDB table
  - a stack of CloudFormation's named `{STACK}` with the same once more, and a bucket for its template
  - an API named `{TWIN}`, a function named `{AUTHORIZER}`, a queue named `{TWIN}.fifo`, and two IAM roles, `{YOUNG}` and
    `{ROLE}`, the latter with the policies that chatctl prints
Some ten thousand messages and Lambda calls cost a few cents. Nothing else in the account is touched.
It refuses to begin without `--yes-this-costs-money`."
    )
}

/// What a fresh `up` spends its time on in the model, beside which the real one can be laid.
fn on_the_model() -> std::io::Result<String> {
    let lived = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
        let up = Process::new(&World::new(Switches::default()), &format!("up --timings --name {NAME}")).run();
        Ok(runtime.block_on(up).stderr)
    });
    lived.join().unwrap_or_else(|_| Err(std::io::Error::other("the model failed")))
}
