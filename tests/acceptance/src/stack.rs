//! The same chat as a stack of CloudFormation's, beside the deployment: what `export` prints, with every optional setting
//! that costs nothing by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::analyzer::encoded;
use crate::ledger::Refusal;
use crate::life::{Ended, Life, NAME, unexpected};
use crate::wire::{Call, base, region, text_of};

/// The stack and its deployment.
pub const STACK: &str = "acceptance-stack";

/// What the stack is exported, planned and verified with. A key and a boundary would have to be made first.
const SETTINGS: &str = "--delivery queue --keep-alive --authorizer iam --throttle-rate 100 --throttle-burst 200 \
    --message-rate 50 --message-burst 100 --memory 512 --function-timeout 20 --log-retention-days 30 --stage on \
    --message-size 64 --tag team=yes --description ${AWS::AccountId}";

/// What it shows.
const FACTS: [&str; 4] = ["G24", "F1", "F2", "F3"];

/// Thirty resources, of which those of one API are made in a row.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

impl Life<'_> {
    pub async fn stacked(&mut self) -> Ended {
        if let Some(why) = self.place.lacks() {
            for id in FACTS {
                self.ledger.not_reached(id, why);
            }
            return Ok(why.to_owned());
        }
        if let Err(refusal) = self.stack_state().await {
            let why = format!("not possible here: {}", refusal.words());
            for id in FACTS {
                self.ledger.not_reached(id, &why);
            }
            return Ok(why);
        }
        // By whoever deploys the stack, as anybody would: the printed policy is for the deployment's name.
        self.place.run_as(None).await;
        let ended = self.stack_lives().await;
        let removed = self.remove_stack().await;
        self.place.run_as(self.deployer.clone()).await;
        match (ended, removed) {
            (Ok(_), Err(why)) => Err(why),
            (Err(why), Err(also)) => Err(format!("{why}; and {also}")),
            (ended, Ok(())) => ended,
        }
    }

    async fn stack_lives(&mut self) -> Ended {
        let settings = format!("{} --config {}", self.place.settings_of_stack(SETTINGS), self.app()?.0);
        let export = format!("export -o json --name {STACK} {settings}");
        let exported = self.place.chatctl(&export, None).await;
        let document: Value = serde_json::from_str(&exported.stdout).map_err(|_| unexpected("export", 0, &exported))?;
        let template = self.place.template(&document["template"]).to_string();
        let bucket = self.bucket().await?;
        self.s3("PUT", format!("/{bucket}"), location(self.place.sdk())).await.map_err(words)?;
        self.s3("PUT", format!("/{bucket}/template"), template).await.map_err(words)?;
        let began = Instant::now();
        let template = format!("{}/{bucket}/template", base(self.place.sdk(), "s3"));
        let order =
            [("StackName", STACK), ("TemplateURL", &template), ("Capabilities.member.1", "CAPABILITY_NAMED_IAM")];
        self.cloudformation("CreateStack", &order).await.map_err(words)?;
        let state = self.stack_settles().await?;
        if state != Some("CREATE_COMPLETE".to_owned()) {
            let why = self.why_it_failed().await;
            if why.contains("concurrent modification") {
                self.ledger.refute("G24", "writes in a row", &why);
            }
            return Err(format!("the stack is {state:?}: {why}"));
        }
        let took = began.elapsed().as_secs();
        self.ledger.confirm("G24", format!("the stack was made in {took} s, what belongs to the API in a row"));
        self.compare(&settings).await?;
        let status = self.place.chatctl(&format!("status --name {STACK} {settings} -o json"), None).await;
        let status: Value = serde_json::from_str(&status.stdout).map_err(|_| unexpected("status", 3, &status))?;
        if status["url"].as_str().is_none_or(|url| !url.ends_with("/on")) {
            return Err(format!("`status` knows no URL of the stack: {status}"));
        }
        let verify = format!("verify --name {STACK} {settings}");
        let verified = self.place.chatctl(&verify, None).await;
        if verified.code != Some(0) {
            return Err(unexpected(&verify, 0, &verified));
        }
        self.ledger.confirm("F2", "clients chat by the code in the template");
        Ok(format!("made in {took} s; {}", verified.stdout.trim().replace('\n', "; ")))
    }

    /// What `up` would still change is what CloudFormation does otherwise, and nothing else.
    async fn compare(&mut self, settings: &str) -> Result<(), String> {
        let plan = format!("plan --name {STACK} {settings} -o json");
        let planned = self.place.chatctl(&plan, None).await;
        if planned.code != Some(0) {
            return Err(unexpected(&plan, 0, &planned));
        }
        let plan: Value = serde_json::from_str(&planned.stdout).map_err(|error| error.to_string())?;
        let changes = plan["changes"].as_array().cloned().unwrap_or_default();
        let mut statements = BTreeSet::new();
        let mut others = Vec::new();
        for change in &changes {
            let word = |key: &str| change[key].as_str().unwrap_or_default();
            let fields = change["differences"].as_array().into_iter().flatten();
            let mut fields: BTreeSet<&str> = fields.filter_map(|field| field["field"].as_str()).collect();
            match (word("action"), word("kind")) {
                ("create" | "delete", "permission") => {
                    statements.insert(word("action"));
                    continue;
                }
                // The code is in the template, as one file.
                ("update", "function") => fields.retain(|field| !["codeSha256", "handler"].contains(field)),
                _ => {}
            }
            let fields: Vec<&str> = fields.into_iter().collect();
            let line = format!("{} {} {}: {}", word("action"), word("kind"), word("name"), fields.join(", "));
            let is_nothing = word("action") == "update" && fields.is_empty();
            if !is_nothing && !self.place.forgives(&line) {
                others.push(line);
            }
        }
        let named = statements.contains("create") && statements.contains("delete");
        let seen =
            if named { "no statement is named as `up` names it" } else { "the statements are as `up` makes them" };
        self.ledger.is_so("F1", "names of CloudFormation's own", named, seen);
        if !others.is_empty() {
            return Err(format!("`up` would change: {}", others.join("; ")));
        }
        self.ledger.confirm("F3", "a description and a schema with `${…}` are what was set");
        Ok(())
    }

    /// Also what an earlier run left. Whoever may not look has never made one.
    pub async fn remove_stack(&self) -> Result<(), String> {
        if self.place.lacks().is_some() {
            return Ok(());
        }
        let Ok(Some(_)) = self.stack_state().await else { return self.remove_bucket().await };
        self.cloudformation("DeleteStack", &[("StackName", STACK)]).await.map_err(words)?;
        let state = self.stack_settles().await?;
        let why = if state.is_some() { self.why_it_failed().await } else { String::new() };
        self.remove_bucket().await?;
        match state.as_deref() {
            None | Some("DELETE_COMPLETE") => Ok(()),
            Some(state) => Err(format!("the stack `{STACK}` is {state}: {why}")),
        }
    }

    async fn remove_bucket(&self) -> Result<(), String> {
        let bucket = self.bucket().await?;
        for path in [format!("/{bucket}/template"), format!("/{bucket}")] {
            match self.s3("DELETE", path, String::new()).await {
                Err(refusal) if !["NoSuchBucket", "NoSuchKey", "AccessDenied"].contains(&refusal.code.as_str()) => {
                    return Err(format!("the bucket `{bucket}`: {}", refusal.words()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A name that nobody else has.
    async fn bucket(&self) -> Result<String, String> {
        let sts = aws_sdk_sts::Client::new(self.place.sdk());
        let caller = sts.get_caller_identity().send().await.map_err(crate::ledger::said)?;
        Ok(format!("{NAME}-{}-{}", caller.account().unwrap_or_default(), region(self.place.sdk())))
    }

    /// None where there is no stack.
    async fn stack_state(&self) -> Result<Option<String>, Refusal> {
        match self.cloudformation("DescribeStacks", &[("StackName", STACK)]).await {
            Ok(answer) => Ok(text_of(&answer, "StackStatus")),
            Err(refusal) if refusal.message.contains("does not exist") => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The state in which it stays, whatever comes of it: also after an interrupt, for a stack that is being made cannot be
    /// left alone.
    async fn stack_settles(&self) -> Result<Option<String>, String> {
        let began = Instant::now();
        loop {
            let state = self.stack_state().await;
            let is_over = began.elapsed() > PATIENCE;
            match state {
                Ok(Some(state)) if state.ends_with("_IN_PROGRESS") && !is_over => {}
                Err(_) if !is_over => {}
                state => return state.map_err(words),
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// The reasons that its events give.
    async fn why_it_failed(&self) -> String {
        let events = match self.cloudformation("DescribeStackEvents", &[("StackName", STACK)]).await {
            Ok(events) => events,
            Err(refusal) => return refusal.words(),
        };
        let failed = events.split("<member>").filter(|event| event.contains("_FAILED</ResourceStatus>"));
        let reasons = failed.filter_map(|event| {
            let id = text_of(event, "LogicalResourceId").unwrap_or_default();
            text_of(event, "ResourceStatusReason").map(|why| format!("{id}: {why}"))
        });
        reasons.collect::<Vec<_>>().join("; ")
    }

    async fn cloudformation(&self, action: &str, members: &[(&str, &str)]) -> Result<String, Refusal> {
        let members: String = members.iter().map(|(name, value)| format!("&{name}={}", encoded(value))).collect();
        let call = Call {
            service: "cloudformation",
            method: "POST",
            at: None,
            path: "/".to_owned(),
            content_type: "application/x-www-form-urlencoded",
            body: format!("Action={action}&Version=2010-05-15{members}"),
        };
        call.send(self.place.sdk()).await
    }

    async fn s3(&self, method: &str, path: String, body: String) -> Result<String, Refusal> {
        Call { service: "s3", method, at: None, path, content_type: "application/octet-stream", body }
            .send(self.place.sdk())
            .await
    }
}

/// Outside the first region a bucket has to be told where it is.
fn location(sdk: &aws_config::SdkConfig) -> String {
    match region(sdk) {
        "us-east-1" => String::new(),
        region => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(refusal: Refusal) -> String {
    refusal.words()
}
