//! The life itself: its steps in their order, each of which may fail without ending the next.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_credential_types::Credentials;
use support::Account;
use tokio::time::Instant;

use crate::ledger::{Ledger, Refusal, Report, Step, said};
use crate::place::{Place, Ran};

/// The deployment; the API that is made beside it for what no deployment should be used for; the deployer's role.
pub const NAME: &str = "acceptance";
pub const TWIN: &str = "acceptance-twin";
pub const ROLE: &str = "acceptance-deployer";

/// Everything expires by itself, should this program never come back: `chatctl reap` removes it then.
const TTL: &str = "--ttl 6h";

/// What a run may leave out or add.
pub struct Options {
    /// Only the steps that have this in their names, between a fresh `up` and the end.
    pub only: Option<String>,
    /// How many clients are connected at once, one verification each.
    pub crowds: Vec<u32>,
    /// After how long `up` and `down` are killed.
    pub kills: Vec<Duration>,
    /// How long a client that only pings is watched, if at all.
    pub idle: Option<Duration>,
    /// Says each step as it begins.
    pub told: Box<dyn Fn(&str) + Send + Sync>,
}

/// How a step ends: with a line of what was seen, or of what failed.
pub type Ended = Result<String, String>;

pub struct Life<'a> {
    pub place: &'a dyn Place,
    pub aws: Account,
    pub ledger: Ledger,
    pub url: String,
    /// Who may do exactly what `policy` prints, where that is somebody else than the caller.
    pub deployer: Option<Credentials>,
    pub options: &'a Options,
    pub waterfall: String,
    /// The policy that the deployer's role has, and since when its credentials count.
    allowed: String,
    assumed: Instant,
}

/// Lives it. It ends with nothing left also where steps failed, and after an interrupt.
pub async fn live(place: &dyn Place, options: &Options) -> Report {
    let sdk = place.sdk();
    let aws = Account::new(sdk);
    let waterfall = String::new();
    let (ledger, url) = (Ledger::default(), String::new());
    let mut life = Life {
        place,
        aws,
        ledger,
        url,
        deployer: None,
        options,
        waterfall,
        allowed: String::new(),
        assumed: Instant::now(),
    };
    life.whole().await;
    let version = place.chatctl("--version", None).await.stdout.trim().to_owned();
    let region = sdk.region().map(ToString::to_string).unwrap_or_default();
    Report {
        head: BTreeMap::from([("version", version), ("region", region)]),
        ledger: life.ledger,
        waterfalls: vec![("as it was here".to_owned(), life.waterfall)],
    }
}

impl Life<'_> {
    async fn whole(&mut self) {
        self.step(FIRST[0], async |life| life.clear().await).await;
        self.step(FIRST[1], async |life| life.deployer().await).await;
        self.step("plan on an empty account", async |life| life.plan().await).await;
        self.step(FIRST[2], async |life| life.fresh().await).await;
        self.step("up again changes nothing", async |life| life.unchanged().await).await;
        self.step("what AWS says of what was made", async |life| life.look().await).await;
        self.step("what Access Analyzer finds in the policies", async |life| life.analyzed().await).await;
        self.step("what AWS refuses", async |life| life.look_at_refusals().await).await;
        self.step("up --ttl twice in a row", async |life| life.renewed().await).await;
        for flags in SETTINGS {
            self.step(&format!("up {flags}, and back"), async |life| life.set(flags).await).await;
        }
        self.step("another display name and a description, and back", async |life| life.described().await).await;
        self.step("routes and an index of one's own, and back", async |life| life.extended().await).await;
        self.step("messages that are held to a schema, and back", async |life| life.held().await).await;
        self.step("runs that are kept for one function, and back", async |life| life.reserved().await).await;
        self.step("a queue, and back", async |life| life.queued().await).await;
        self.step("an alarm, and back", async |life| life.alarmed().await).await;
        self.step("what the stage takes", async |life| life.look_at_stage().await).await;
        self.step("what IAM asks of whom", async |life| life.look_at_permissions().await).await;
        self.step("where calls go", async |life| life.look_at_hosts().await).await;
        self.step("how late IAM is", async |life| life.measured().await).await;
        for (what, edit) in crate::drift::EDITS {
            self.step(&format!("by hand: {what}"), async |life| life.repaired(*edit).await).await;
        }
        self.step("a function as authorizer", async |life| life.guarded().await).await;
        self.step("tokens of an issuer", async |life| life.asked_for_tokens().await).await;
        self.step("a role made anew under its function", async |life| life.new_role().await).await;
        if self.place.no_clients().is_none() {
            self.step("clients", async |life| life.look_at_clients().await).await;
            self.step("pings", async |life| life.look_at_pings().await).await;
            self.step("handlers of one's own", async |life| life.look_at_project().await).await;
            self.step("more messages than may come", async |life| life.look_at_throttle().await).await;
            for flags in ["--memory 384", "--delivery queue"] {
                let name = format!("up {flags} while clients chat");
                self.step(&name, async |life| life.update_under_clients(flags).await).await;
            }
            for crowd in &self.options.crowds {
                let line = format!("verify --clients {crowd} --senders 1");
                self.step(&line, async |life| life.is_well(&line).await).await;
            }
        }
        self.step("the same as a stack of CloudFormation", async |life| life.stacked().await).await;
        for after in self.options.kills.clone() {
            let name = format!("up killed after {after:?}, and continued");
            self.step(&name, async |life| life.continued(after).await).await;
        }
        self.step("down", async |life| life.gone().await).await;
        self.step("two ups at once", async |life| life.raced().await).await;
        if let Some(after) = self.options.kills.first().copied() {
            self.step("down killed, and continued", async |life| life.down_continued(after).await).await;
        }
        self.finish().await;
        self.excuse();
    }

    async fn step(&mut self, name: &str, work: impl AsyncFnOnce(&mut Self) -> Ended) {
        let is_left_out = |only: &String| !FIRST.contains(&name) && !name.contains(only);
        if self.place.interrupt().is_raised() || self.options.only.as_ref().is_some_and(is_left_out) {
            return;
        }
        (self.options.told)(name);
        let began = Instant::now();
        let ended = match self.renewed_credentials().await {
            Ok(()) => Box::pin(work(self)).await,
            Err(why) => Err(why),
        };
        self.ledger.steps.push(Step { name: name.to_owned(), took: began.elapsed(), ended });
    }

    /// What may never be left out: nothing of this run stays. A new interrupt is a new wish to stop, and is heard.
    async fn finish(&mut self) {
        (self.options.told)("nothing stays");
        // By whoever began it all: the printed policy may be what failed.
        self.place.run_as(None).await;
        let began = Instant::now();
        let ended = self.clear().await;
        self.ledger.steps.push(Step { name: "nothing stays".to_owned(), took: began.elapsed(), ended });
    }

    /// Runs `chatctl` on the deployment.
    pub async fn chatctl(&self, line: &str) -> Ran {
        let ttl = if line.starts_with("up") && !line.contains("--ttl") { TTL } else { "" };
        self.place.chatctl(&format!("{line} --name {NAME} {ttl}"), None).await
    }

    /// Runs it and wants it to end with `code`.
    pub async fn ends(&self, line: &str, code: u8) -> Result<Ran, String> {
        let ran = self.chatctl(line).await;
        if ran.code == Some(code) { Ok(ran) } else { Err(unexpected(line, code, &ran)) }
    }

    pub async fn is_well(&self, line: &str) -> Ended {
        let ran = self.ends(line, 0).await?;
        Ok(ran.stdout.trim().replace('\n', "; "))
    }

    async fn clear(&mut self) -> Ended {
        let down = self.place.chatctl(&format!("down --name {NAME} --timeout 20m"), None).await;
        let down = if down.code == Some(0) { Ok(()) } else { Err(unexpected("down", 0, &down)) };
        // One that fails keeps no other from being removed.
        let rest = [
            self.remove_stack().await,
            self.remove_twins().await,
            self.remove_queue().await,
            self.remove_authorizer().await,
            self.remove_young().await,
            self.remove_deployer().await,
        ];
        let failed: Vec<String> = [down].into_iter().chain(rest).filter_map(Result::err).collect();
        if failed.is_empty() { Ok(String::new()) } else { Err(failed.join("; ")) }
    }

    /// All that follows is done by somebody who may do exactly what `policy` prints.
    async fn deployer(&mut self) -> Ended {
        let policy = self.ends("policy", 0).await?.stdout;
        if self.place.runs_as_printed() {
            let why = "here every command runs under it";
            self.ledger.not_reached("P", why);
            self.ledger.not_reached("S1", why);
            return Ok(why.to_owned());
        }
        let sts = aws_sdk_sts::Client::new(self.place.sdk());
        let caller = sts.get_caller_identity().send().await.map_err(said)?;
        let account = caller.account().unwrap_or_default();
        let partition = caller.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
        self.ledger.is_so("S1", "an ARN", caller.arn().is_some(), "account and partition are told");
        let trust = serde_json::json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": format!("arn:{partition}:iam::{account}:root") }
        }] });
        let iam = &self.aws.iam;
        let made = iam.create_role().role_name(ROLE).assume_role_policy_document(trust.to_string()).send().await;
        let made = made.map_err(|error| format!("not possible here: {}", said(error)))?;
        let arn = made.role().map(|role| role.arn().to_owned()).unwrap_or_default();
        self.allow(&policy).await?;
        self.allowed = policy;
        self.ledger.confirm("P", "IAM takes the printed policy");
        let began = Instant::now();
        self.assume(&arn).await?;
        Ok(format!("assumed {:.0} s after it was made", began.elapsed().as_secs_f64()))
    }

    /// From now on as the deployer's role, for an hour at most.
    async fn assume(&mut self, arn: &str) -> Result<(), String> {
        let sts = aws_sdk_sts::Client::new(self.place.sdk());
        // A new role cannot be assumed at once, and its policy is not in force at once (I1).
        let began = Instant::now();
        let assumed = loop {
            let assumed = sts.assume_role().role_arn(arn).role_session_name(NAME).send().await;
            match assumed {
                Ok(assumed) => break assumed,
                Err(error) if began.elapsed() > Duration::from_secs(120) => return Err(said(error)),
                Err(_) => tokio::time::sleep(Duration::from_secs(2)).await,
            }
        };
        let keys = assumed.credentials().ok_or("the answer has no credentials")?;
        let (key, secret) = (keys.access_key_id(), keys.secret_access_key());
        let token = Some(keys.session_token().to_owned());
        self.deployer = Some(Credentials::new(key, secret, token, None, "acceptance"));
        self.assumed = Instant::now();
        self.place.run_as(self.deployer.clone()).await;
        Ok(())
    }

    /// Before the hour is over.
    async fn renewed_credentials(&mut self) -> Result<(), String> {
        if self.deployer.is_none() || self.assumed.elapsed() < Duration::from_secs(20 * 60) {
            return Ok(());
        }
        let role = self.aws.iam.get_role().role_name(ROLE).send().await.map_err(said)?;
        let arn = role.role().map(|role| role.arn().to_owned()).unwrap_or_default();
        self.assume(&arn).await
    }

    /// `up` with these settings, by whoever may do what `policy` prints for them.
    pub async fn up(&mut self, flags: &str) -> Result<Ran, String> {
        if self.deployer.is_some() {
            let policy = self.ends(&format!("policy {flags}"), 0).await?.stdout;
            if policy != self.allowed {
                self.allow(&policy).await?;
                self.allowed = policy;
            }
        }
        let (line, began) = (format!("up {flags}"), Instant::now());
        loop {
            match self.ends(&line, 0).await {
                // A policy is in force only after some seconds (I1).
                Err(why) if self.deployer.is_some() && why.contains("AccessDenied") => {
                    if began.elapsed() > Duration::from_secs(60) {
                        return Err(why);
                    }
                }
                ended => return ended,
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }

    /// Gives the deployer's role a policy that was printed.
    async fn allow(&self, printed: &str) -> Result<(), String> {
        let put = self.aws.iam.put_role_policy().role_name(ROLE).policy_name("printed");
        let put = put.policy_document(self.place.policy(printed)).send().await;
        put.map(drop).map_err(|error| format!("the policy was not taken: {}", said(error)))
    }

    async fn remove_deployer(&self) -> Result<(), String> {
        if self.place.runs_as_printed() {
            return Ok(());
        }
        let _ = self.aws.iam.delete_role_policy().role_name(ROLE).policy_name("printed").send().await;
        match self.aws.iam.delete_role().role_name(ROLE).send().await.map_err(|error| Refusal::of(&error)) {
            Err(refusal) if refusal.code != "NoSuchEntity" => Err(refusal.words()),
            _ => Ok(()),
        }
    }

    async fn plan(&mut self) -> Ended {
        let began = Instant::now();
        loop {
            let plan = self.chatctl("plan").await;
            let is_denied = plan.stderr.contains("AccessDenied");
            if plan.code == Some(0) {
                self.ledger.confirm("I11", "the printed policy is enough to see that nothing is there");
                return Ok(plan.stdout.lines().last().unwrap_or_default().to_owned());
            }
            // The role's policy may not be in force yet (I1).
            if !is_denied || began.elapsed() > Duration::from_secs(60) {
                if is_denied {
                    self.ledger.refute("I11", "the printed policy suffices", last_words(&plan));
                }
                return Err(unexpected("plan", 0, &plan));
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }

    async fn fresh(&mut self) -> Ended {
        let verify = if self.place.no_clients().is_none() { "--verify" } else { "" };
        let line = format!("up --timings {verify}");
        let up = match self.ends(&line, 0).await {
            Err(why) if why.contains("AccessDenied") => {
                self.ledger.refute("P", "the printed policy suffices", why);
                // The rest of the life tells more of AWS if somebody may live it.
                self.deployer = None;
                self.place.run_as(None).await;
                self.ends(&line, 0).await?
            }
            up => up?,
        };
        self.url = up.stdout.trim().to_owned();
        self.waterfall = up.stderr;
        self.ends("status", 0).await?;
        self.ledger.confirm("U5", "the waterfall below shows it");
        if verify.is_empty() {
            return Ok("no client can connect here".to_owned());
        }
        self.ledger.confirm("H13", "a verification right after `up` went well");
        self.ledger.confirm("I8", "a role that may post on that path and do nothing else there reaches everybody");
        Ok("and clients chat".to_owned())
    }

    /// Routes of one's own, in a settings file: its path, and that of the same without the schema.
    pub fn app(&self) -> Result<(String, String), String> {
        let folder = self.place.folder();
        let files = [("held.json", HELD), ("app.toml", APP), ("free.toml", &APP.replace(SCHEMA, ""))];
        for (name, text) in files {
            std::fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
        }
        let path = |name: &str| folder.join(name).display().to_string();
        Ok((path("app.toml"), path("free.toml")))
    }

    /// Handlers of one's own beside those that are built in: the path of the settings file.
    pub fn project(&self) -> Result<String, String> {
        let folder = self.place.folder().join("project");
        let handlers = folder.join("lambda");
        let write = || {
            std::fs::create_dir_all(&handlers)?;
            for (name, content) in chatctl::handlers::embedded() {
                std::fs::write(handlers.join(name), content)?;
            }
            std::fs::write(handlers.join("echo.mjs"), ECHO)?;
            std::fs::write(handlers.join("broken.mjs"), BROKEN)?;
            std::fs::write(folder.join("chatctl.toml"), PROJECT)
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", folder.display()))?;
        Ok(folder.join("chatctl.toml").display().to_string())
    }

    /// There is nothing to do but to renew.
    async fn unchanged(&mut self) -> Ended {
        let up = self.ends("up -o json", 0).await?;
        let document: serde_json::Value = serde_json::from_str(&up.stdout).map_err(|error| error.to_string())?;
        let changes = document["changes"].as_array().cloned().unwrap_or_default();
        // The time of expiry moves on with every `up`.
        let made: Vec<_> = changes.iter().filter(|change| change["action"] != "update").collect();
        if made.is_empty() { Ok(format!("{} renewals", changes.len())) } else { Err(format!("it made {made:?}")) }
    }

    async fn renewed(&mut self) -> Ended {
        self.ends("up --ttl 7h", 0).await?;
        let arn = self.table_arn().await?;
        let shown = self.expiry_as_shown(&arn).await;
        self.ends("up --ttl 8h", 0).await?;
        let at_once = self.expiry_as_shown(&arn).await;
        self.ends("status", 0).await?;
        if at_once == shown {
            self.ledger.confirm("D9", "right after the write the old tags were shown");
        } else {
            self.ledger.not_reached("D9", "the new tags were shown at once, this time");
        }
        Ok("both ended well".to_owned())
    }

    async fn set(&mut self, flags: &str) -> Ended {
        self.up(flags).await?;
        self.ends(&format!("status {flags}"), 0).await?;
        if flags.contains('@') {
            self.ledger.confirm("U6", "every service took `@` in the value of a tag");
        }
        self.up("").await?;
        self.ends("status", 0).await?;
        Ok(String::new())
    }

    async fn described(&mut self) -> Ended {
        self.set("--api-name Acceptance --description tried").await?;
        let apis = self.apis_named(NAME).await?;
        let is_off = apis.iter().all(|api| api.description().is_none_or(str::is_empty));
        self.ledger.is_so("G29", "no description", is_off, format!("{:?}", apis.first().map(|api| api.description())));
        Ok(String::new())
    }

    async fn extended(&mut self) -> Ended {
        let flags = format!("--config {}", self.app()?.0);
        self.set(&flags).await?;
        self.ledger.confirm("D10", "an index came and went");
        Ok(String::new())
    }

    /// As far as the account has any to spare (L18).
    async fn reserved(&mut self) -> Ended {
        let put = self.aws.lambda.put_function_concurrency().function_name(format!("{NAME}-sendMessage"));
        let all = put.reserved_concurrent_executions(1_000_000).send().await;
        self.ledger.is_refused("L18", &["InvalidParameterValueException"], &all);
        let flags = "--reserved-concurrency 1";
        let ended = match self.up(flags).await {
            Ok(_) => self.ends(&format!("status {flags}"), 0).await.map(|_| "one was kept"),
            Err(why) if why.contains("UnreservedConcurrentExecution") => Ok("the account has none to spare"),
            Err(why) => Err(why),
        };
        self.up("").await?;
        self.ends("status", 0).await?;
        ended.map(str::to_owned)
    }

    async fn repaired(&mut self, edit: crate::drift::Edit) -> Ended {
        edit(self).await?;
        self.ends("status", 3).await?;
        self.ends("up", 0).await?;
        self.ends("status", 0).await?;
        Ok(String::new())
    }

    async fn continued(&mut self, after: Duration) -> Ended {
        let killed = self.place.chatctl(&format!("up --memory 384 --name {NAME} {TTL}"), Some(after)).await;
        let when = if killed.code.is_none() { "killed" } else { "ended before" };
        self.ends("up", 0).await?;
        self.ends("status", 0).await?;
        Ok(when.to_owned())
    }

    async fn gone(&mut self) -> Ended {
        self.ends("down", 0).await?;
        self.ends("status", 4).await?;
        let left = self.left().await?;
        if !left.is_empty() {
            return Err(format!("left: {}", left.join(", ")));
        }
        Ok("nothing is left".to_owned())
    }

    async fn raced(&mut self) -> Ended {
        let (one, two) = tokio::join!(self.chatctl("up"), self.chatctl("up"));
        for ran in [&one, &two] {
            if ran.code != Some(0) {
                return Err(unexpected("up", 0, ran));
            }
        }
        if one.stdout != two.stdout {
            return Err(format!("two URLs: {} and {}", one.stdout.trim(), two.stdout.trim()));
        }
        self.ends("status", 0).await?;
        Ok("one URL".to_owned())
    }

    async fn down_continued(&mut self, after: Duration) -> Ended {
        let killed = self.place.chatctl(&format!("down --name {NAME}"), Some(after)).await;
        let when = if killed.code.is_none() { "killed" } else { "ended before" };
        self.gone().await?;
        Ok(when.to_owned())
    }

    /// Says of the facts that only clients can tell why they were not reached.
    fn excuse(&mut self) {
        let Some(why) = self.place.no_clients() else { return };
        for id in self.ledger.untouched() {
            self.ledger.not_reached(&id, why);
        }
    }
}

/// What is lived whatever is left out.
const FIRST: [&str; 3] = ["nothing is left of an earlier run", "a role with exactly the printed policy", "a fresh up"];

/// What the messages of a route are to be like; CloudFormation might find something of its own in it.
const HELD: &str = r#"{
  "type": "object",
  "properties": { "data": { "type": "string" }, "Ref": { "enum": ["${AWS::AccountId}"], "maxLength": 20 } }
}
"#;
const SCHEMA: &str = "schema = \"held.json\"\n";

/// Three routes more, one of which takes what no other takes, one of which is held to a schema, and an index.
const APP: &str = r#"table-indexes = ["room"]

[routes.shout]
handler = "sendMessage"
rate = 50
burst = 100

[routes.held]
handler = "sendMessage"
schema = "held.json"

[routes."$default"]
handler = "sendMessage"
"#;

/// A route that answers its sender, and one that always fails.
const PROJECT: &str = "handlers = \"lambda/\"\n\n[routes.echo]\nreply = true\n\n[routes.broken]\n";
const ECHO: &str = "export const handler = async ({ requestContext }) =>\n  ({ statusCode: 200, body: requestContext.authorizer?.principalId ?? 'echo' });\n";
const BROKEN: &str = "export const handler = async () => { throw new Error('on purpose'); };\n";

/// Settings that are taken on and off again, one at a time.
const SETTINGS: &[&str] = &[
    "--memory 512",
    "--function-timeout 20",
    "--log-retention-days 30",
    "--throttle-rate 50 --throttle-burst 20",
    "--message-size 64",
    "--message-rate 50 --message-burst 60",
    "--keep-alive",
    "--architecture x86_64",
    "--authorizer iam",
    "--tag owner=a@b.c",
];

pub fn unexpected(line: &str, code: u8, ran: &Ran) -> String {
    let ended = ran.code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"));
    format!("`chatctl {line}` {ended}, not {code}: {}", last_words(ran))
}

/// What it said last: the error and its hint.
fn last_words(ran: &Ran) -> String {
    let from = ran.stderr.find("error:").unwrap_or_default();
    let words: String = ran.stderr[from..].chars().take(800).collect();
    if words.is_empty() { ran.stdout.chars().take(400).collect() } else { words }
}
