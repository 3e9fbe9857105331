//! Everything that is refused before anything is touched: what is said, exit code 2, and not one connection.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_config::SdkConfig;
use chatctl::error::Exit;
use serde_json::Value;
use support::sdk_config;

use super::run::{Run, chatctl};
use super::snapshot::assert_snapshot;

/// An AWS that says no to everything, and counts.
struct Listener {
    aws: SdkConfig,
    connections: Arc<AtomicUsize>,
}

impl Listener {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = connection.read(&mut [0; 4096]);
                let _ =
                    connection.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Self { aws: sdk_config(&url, "123456789012", "test"), connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One refused run: its command line, its variable and its settings file.
struct Case {
    line: &'static str,
    /// Further arguments, which may have spaces.
    args: &'static [&'static str],
    env: Option<(&'static str, &'static str)>,
    file: Option<&'static str>,
}

impl Case {
    fn run(&self, aws: &SdkConfig) -> Run {
        let mut run = chatctl(self.line).aws(aws);
        for arg in self.args {
            run = run.arg(arg);
        }
        if let Some((name, value)) = self.env {
            run = run.env(name, value);
        }
        match self.file {
            Some(text) => run.file("chatctl.toml", text),
            None => run,
        }
    }

    fn shown(&self) -> String {
        let file = self.file.map(|text| format!("# chatctl.toml: {}\n", text.trim_end().replace('\n', " | ")));
        let env = self.env.map(|(name, value)| format!("{name}={value} "));
        let args: String = self.args.iter().map(|arg| format!(" '{arg}'")).collect();
        format!("{}$ {}chatctl {}{args}", file.unwrap_or_default(), env.unwrap_or_default(), self.line)
            .trim()
            .to_owned()
    }
}

const fn line(line: &'static str) -> Case {
    Case { line, args: &[], env: None, file: None }
}

const fn args(line: &'static str, args: &'static [&'static str]) -> Case {
    Case { line, args, env: None, file: None }
}

const fn file(text: &'static str) -> Case {
    Case { line: "up", args: &[], env: None, file: Some(text) }
}

const fn env(name: &'static str, value: &'static str) -> Case {
    Case { line: "up", args: &[], env: Some((name, value)), file: None }
}

const CASES: &[Case] = &[
    // The command line itself.
    line(""),
    line("local"),
    line("staus"),
    line("upp"),
    line("frobnicate"),
    line("plan --destory"),
    line("up --nmae x"),
    line("up --frobnicate"),
    line("up twice"),
    line("up --name"),
    line("up --memory lots"),
    line("up --name a --name b"),
    line("up --name a --name-from b"),
    line("completions"),
    line("completions tcsh"),
    line("verify --clients many"),
    line("chat --as"),
    line("up --header a=b --query c=d"),
    // Names and stages.
    args("up --name", &[""]),
    line("up --name -x"),
    line("up --name=-x"),
    line("up --name _x"),
    line("up --name a.b"),
    args("up --name-from", &[""]),
    args("up --name", &["a b"]),
    args("up --name", &["grüße"]),
    line("up --name abcdefghijklmnopqrstuvwxyz0123456"),
    args("up --stage", &[""]),
    line("up --stage a.b"),
    line("up --stage $default"),
    // Tags.
    line("up --tag team"),
    line("up --tag =x"),
    line("up --tag aws:x=y"),
    line("up --tag AWS:x=y"),
    line("up --tag chatctl:name=other"),
    args("up --tag", &["a=<b>"]),
    args("up", &["--tag", "a=1", "--tag", "A=2"]),
    // ARNs.
    line("up --permissions-boundary Boundary"),
    line("up --permissions-boundary arn:aws:iam::1234:policy/x"),
    line("up --permissions-boundary arn:aws:iam::123456789012:role/x"),
    line("up --kms-key alias/x"),
    line("up --kms-key arn:aws:kms:eu-central-1:123456789012:alias/x"),
    line("up --role-arn onConnect"),
    line("up --role-arn onconnect=arn:aws:iam::123456789012:role/x"),
    line("up --role-arn onConnect=arn:aws:iam::123456789012:user/x"),
    line("up --authorizer mine"),
    line("up --authorizer jwt"),
    line("up --authorizer jwt --jwt-issuer https://issuer.example"),
    line("up --jwt-audience chat"),
    line("up --authorizer iam --jwt-token protocol"),
    line("up --authorizer jwt --jwt-audience chat --jwt-issuer http://issuer.example"),
    line("up --authorizer jwt --jwt-audience chat --jwt-issuer https://issuer.example?a=b"),
    args("up --authorizer jwt --jwt-issuer https://issuer.example --jwt-audience", &["a b"]),
    line("up --authorizer jwt --jwt-audience chat --jwt-issuer https://issuer.example --jwt-token body"),
    line("up --authorizer jwt --jwt-audience chat --jwt-issuer https://i.example --jwt-token header:Sec-WebSocket-Key"),
    // Tokens.
    line("verify --token eyJhbGciOiJub25lIn0.e30."),
    line("verify eyJhbGciOiJub25lIn0.e30."),
    line("verify --token @nowhere"),
    line("chat --token -"),
    line("open --token -"),
    line("verify --token @token --query a=b"),
    line("verify --authorizer jwt --jwt-audience chat --jwt-issuer https://issuer.example"),
    line("up --role-path chatctl"),
    // A route of one's own.
    line("verify --route join"),
    line("verify --expect hello"),
    line("verify --route join --expect hello"),
    line("verify --route $connect --expect hello"),
    // Durations.
    line("up --ttl soon"),
    line("up --ttl 0s"),
    line("up --ttl 72"),
    line("up --timeout 99999d"),
    line("logs --since yesterday"),
    line("chat --wait x"),
    // Numbers and words from a list.
    line("up --log-retention-days 2"),
    line("up --memory 64"),
    line("up --memory 99999"),
    line("up --function-timeout 0"),
    line("up --function-timeout 30"),
    line("up --architecture arm"),
    line("up --runtime python3.14"),
    line("up --runtime nodejs"),
    line("up --throttle-rate 10"),
    line("up --throttle-burst 10"),
    line("up --throttle-rate 0 --throttle-burst 1"),
    line("up --message-size 129"),
    line("up --message-rate 0"),
    line("up --region frankfurt"),
    line("up --region eu-central-"),
    line("up --color sometimes"),
    // Handlers.
    line("up --handlers nowhere"),
    line("up --handlers ."),
    line("up --verify --header token"),
    // The environment.
    env("CHATCTL_NAME", "_x"),
    env("CHATCTL_MEMORY", "lots"),
    env("CHATCTL_LOCAL", "maybe"),
    env("CHATCTL_OUTPUT", "yaml"),
    // The settings file.
    line("up --config nowhere.toml"),
    line("up --config ."),
    file("nmae = \"chat\"\n"),
    file("stage = \"dev\"\n\nlog_retention_days = 7\n"),
    file("frobnicate = true\n"),
    file("name = 7\n"),
    file("memory = \"lots\"\n"),
    file("tags = \"team\"\n"),
    file("name = \"chat\n"),
    file("name = \"a\"\nname = \"b\"\n"),
    file("local = true\n"),
    file("name = \"_x\"\n"),
    file("[tags]\n\"aws:x\" = \"y\"\n"),
    file("output = \"yaml\"\n"),
];

#[tokio::test]
async fn every_usage_error_says_its_rule_and_touches_nothing() {
    let listener = Listener::start();
    let mut text = String::new();
    for case in CASES {
        let ended = case.run(&listener.aws).run().await;
        let shown = case.shown();
        assert_eq!(ended.exit, Exit::Usage, "{shown}\n{}", ended.stderr);
        assert_eq!(ended.stdout, "", "{shown}");
        assert_eq!(listener.connections(), 0, "{shown}");
        text.push_str(&format!("{shown}\n{}\n", ended.stderr));
    }
    assert_snapshot("usage", &text);

    // It would have counted: the same without a mistake does connect.
    let ended = chatctl("status").aws(&listener.aws).run().await;
    assert_eq!(ended.exit, Exit::Failed, "{}", ended.stderr);
    assert!(listener.connections() > 0);
}

#[tokio::test]
async fn every_usage_error_is_one_json_document_where_that_is_asked_for() {
    let listener = Listener::start();
    for case in CASES.iter().filter(|case| !case.shown().to_lowercase().contains("output")) {
        let shown = case.shown();
        let said = case.run(&listener.aws).run().await.stderr;
        let asked = [
            case.run(&listener.aws).env("CHATCTL_OUTPUT", "json"),
            case.run(&listener.aws).instead(&format!("-qo json {}", case.line), case.args),
            case.run(&listener.aws).arg("--output=json"),
            case.run(&listener.aws).arg("-vo=json"),
        ];
        for (n, run) in asked.into_iter().enumerate() {
            let ended = run.run().await;
            assert_eq!(ended.exit, Exit::Usage, "{shown}");
            let document: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{shown}: {e}"));
            assert_eq!(document["schema"], "chatctl/1", "{shown}");
            assert_eq!(document["error"]["code"], "Usage", "{shown}");
            assert_eq!(document["error"]["leftovers"], Value::Array(vec![]), "{shown}");
            let message = document["error"]["message"].as_str().unwrap();
            assert!(said.starts_with(&format!("error: {message}\n")), "{shown}");
            // With `-v` it is also told to where calls would go.
            let before = ended.stderr.strip_suffix(&said).unwrap_or_else(|| panic!("{shown}: {}", ended.stderr));
            let is_where = before.starts_with("through the endpoint override ") && before.lines().count() == 1;
            assert!(before.is_empty() || (n == 3 && is_where), "{shown}: {}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn a_settings_file_decides_how_its_own_errors_look() {
    let ended = chatctl("up").file("chatctl.toml", "output = \"json\"\nname = \"_x\"\n").run().await;
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["error"]["code"], "Usage");
    let ended = chatctl("up --name _x --color always").run().await;
    assert!(ended.stderr.starts_with("\u{1b}[31merror\u{1b}[0m: "), "{:?}", ended.stderr);
    let ended = chatctl("up --name _x --color never").terminal().run().await;
    assert!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
    let ended = chatctl("up --name _x").terminal().env("NO_COLOR", "1").run().await;
    assert!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
    let ended = chatctl("up --name _x").terminal().run().await;
    assert!(ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
}

/// A misspelt variable would do nothing, silently.
#[tokio::test]
async fn a_variable_that_is_none_of_ours_is_warned_of() {
    let run = |line: &str| chatctl(line).env("CHATCTL_NAM", "a").env("CHATCTL_ZZZZZZ", "1").env("CHATCTL_TTL", "1h");
    let ended = run("completions bash").run().await;
    assert_eq!(
        ended.stderr,
        "warning: `CHATCTL_NAM` in the environment is not a variable of chatctl; did you mean `CHATCTL_NAME`?\n\
         warning: `CHATCTL_ZZZZZZ` in the environment is not a variable of chatctl, and does nothing\n"
    );
    assert_eq!(run("completions bash -q").run().await.stderr, "");
}

/// As `git`, `cargo` and `kubectl` have it.
#[tokio::test]
async fn help_is_a_verb_too() {
    for (line, same) in [("help", "--help"), ("help up", "up --help"), ("help local start", "local start --help")] {
        let (ended, wanted) = (chatctl(line).run().await, chatctl(same).run().await);
        assert_eq!((ended.exit, &ended.stdout), (Exit::Done, &wanted.stdout), "{line}");
    }
    assert_eq!(chatctl("help nonsense").run().await.exit, Exit::Usage);
}

#[tokio::test]
async fn the_manual_says_how_it_ends_and_what_it_reads() {
    let page = chatctl("man").run().await.stdout;
    for heading in [".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SH FILES", ".SH EXAMPLES"] {
        assert!(page.lines().any(|line| line == heading), "no {heading}");
    }
}
