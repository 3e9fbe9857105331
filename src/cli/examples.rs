//! The examples under the help of each verb. The tests run every line of them.

pub const ALL: &str = "\
Examples:
  chatctl up --local
  chatctl down --local";

pub const UP: &str = "\
Examples:
  chatctl up --local
  URL=$(chatctl up --name pr-42 --ttl 72h)
  chatctl up --memory 1024 --tag team=chat --verify

Flags are not remembered: the next `up` without them takes the defaults again.
Put what is to last into `chatctl.toml`; `chatctl init` writes one.";

pub const DEV: &str = "\
Examples:
  chatctl dev
  chatctl dev --name my-app";

pub const DOWN: &str = "\
Examples:
  chatctl down --local
  chatctl down --name pr-42";

pub const STATUS: &str = "\
Examples:
  chatctl status --local
  chatctl status --name pr-42 -o json";

pub const PLAN: &str = "\
Examples:
  chatctl plan --memory 1024
  chatctl plan --destroy";

pub const LIST: &str = "\
Examples:
  chatctl list
  chatctl list --region eu-central-1 -o json";

pub const REAP: &str = "\
Examples:
  chatctl reap --dry-run
  chatctl reap";

pub const VERIFY: &str = "\
Examples:
  chatctl verify --local
  chatctl verify --clients 5 --messages 2 -o json
  chatctl verify --max-p99 500 --junit verify.xml";

pub const CHAT: &str = "\
Examples:
  chatctl chat --local --as ada
  echo hello | chatctl chat --wait 1s";

pub const OPEN: &str = "\
Examples:
  chatctl open --local
  chatctl open --no-browser";

pub const LOGS: &str = "\
Examples:
  chatctl logs --since 1h
  chatctl logs --function sendMessage -o json";

pub const REDRIVE: &str = "\
Examples:
  chatctl redrive
  chatctl redrive --timeout 1h -o json";

pub const LOCAL: &str = "\
Examples:
  chatctl local start
  eval \"$(chatctl local env)\"            # for the AWS CLI, an SDK, a test
  chatctl local stop";

pub const COMPLETIONS: &str = "\
Examples:
  chatctl completions bash
  chatctl completions zsh > _chatctl";

pub const SCHEMA: &str = "\
Examples:
  chatctl schema > chatctl.schema.json";

pub const MAN: &str = "\
Examples:
  chatctl man > chatctl.1";

pub const POLICY: &str = "\
Examples:
  chatctl policy > policy.json
  chatctl policy --read-only
  chatctl policy --sender --local";

pub const EXPORT: &str = "\
Examples:
  chatctl export > template.yaml
  chatctl export --dir build";

pub const INIT: &str = "\
Examples:
  chatctl init
  chatctl init my-chat
  chatctl init --example rooms my-rooms";
