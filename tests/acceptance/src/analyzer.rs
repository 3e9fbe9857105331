//! What IAM Access Analyzer finds in the policies that are printed and made.

use serde_json::{Value, json};

use crate::ledger::{Refusal, said};
use crate::life::{Ended, Life, NAME};
use crate::wire::{Call, region};

/// Findings that refute; the others, `WARNING` and `SUGGESTION`, are matters of style, and told.
const REFUTING: [&str; 2] = ["ERROR", "SECURITY_WARNING"];

/// Which rules a policy is held to.
#[derive(Clone, Copy)]
enum Role {
    Identity,
    Resource,
    Trust,
}

struct Policy {
    name: String,
    role: Role,
    document: String,
}

impl Life<'_> {
    /// All that `chatctl` prints, and all that stands in AWS (I14).
    pub async fn analyzed(&mut self) -> Ended {
        if let Some(why) = self.place.lacks() {
            self.ledger.not_reached("I14", why);
            return Ok(why.to_owned());
        }
        let mut policies = self.printed().await?;
        policies.extend(self.made().await?);
        let (mut refuting, mut beside) = (Vec::new(), Vec::new());
        for policy in &policies {
            let findings = match self.findings(policy).await {
                Ok(findings) => findings,
                Err(refusal) => {
                    let why = format!("not possible here: {}", refusal.words());
                    self.ledger.not_reached("I14", &why);
                    return Ok(why);
                }
            };
            for finding in findings {
                let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
                let line = format!("{}: {} {}", policy.name, word("issueCode"), word("findingDetails"));
                let list = if REFUTING.contains(&word("findingType").as_str()) { &mut refuting } else { &mut beside };
                list.push(line);
            }
        }
        let of_tags: Vec<_> = refuting.iter().filter(|line| line.contains("apigateway:")).cloned().collect();
        if !of_tags.is_empty() {
            self.ledger.refute("G16", "actions that are there", of_tags.join("; "));
        }
        let seen = format!("{} policies", policies.len());
        let told = if refuting.is_empty() { seen } else { refuting.join("; ") };
        self.ledger.is_so("I14", "no error and no security warning", refuting.is_empty(), told);
        Ok(format!("{} policies; {}", policies.len(), beside.join("; ")))
    }

    async fn printed(&self) -> Result<Vec<Policy>, String> {
        let sts = aws_sdk_sts::Client::new(self.place.sdk());
        let caller = sts.get_caller_identity().send().await.map_err(said)?;
        let account = caller.account().unwrap_or_default();
        let boundary = format!("arn:aws:iam::{account}:policy/{NAME}");
        let function = format!("arn:aws:lambda:us-east-1:{account}:function:{NAME}");
        let key = format!("arn:aws:kms:us-east-1:{account}:key/11111111-2222-3333-4444-555555555555");
        let topic = format!("arn:aws:sns:{}:{account}:{NAME}", region(self.place.sdk()));
        let identity = [
            String::new(),
            "--read-only".to_owned(),
            "--sender".to_owned(),
            "--boundary".to_owned(),
            "--delivery queue --boundary".to_owned(),
            format!(
                "--permissions-boundary {boundary} --delivery queue --keep-alive --authorizer {function} --kms-key {key} --alarm-topic {topic}"
            ),
        ];
        let trusts = ["environment:production", "pull_request", "ref:refs/heads/main"];
        let trusts = trusts.map(|subject| format!("--account {account} --github owner/repository:{subject}"));
        let mut printed = Vec::new();
        for (role, flags) in
            identity.iter().map(|flags| (Role::Identity, flags)).chain(trusts.iter().map(|flags| (Role::Trust, flags)))
        {
            let name = format!("policy {flags}");
            let document = self.ends(&name, 0).await?.stdout;
            printed.push(Policy { name, role, document });
        }
        Ok(printed)
    }

    /// The functions' roles, whom they trust, and who may call the functions.
    async fn made(&self) -> Result<Vec<Policy>, String> {
        let mut made = Vec::new();
        let iam = &self.aws.iam;
        for role in self.role_names().await? {
            let read = iam.get_role().role_name(&role).send().await.map_err(said)?;
            let trust = read.role().and_then(|role| role.assume_role_policy_document()).unwrap_or_default();
            made.push(Policy { name: format!("trust of {role}"), role: Role::Trust, document: decoded(trust) });
            for policy in self.policies(&role).await? {
                let read = iam.get_role_policy().role_name(&role).policy_name(policy).send().await.map_err(said)?;
                let document = decoded(read.policy_document());
                made.push(Policy { name: format!("policy of {role}"), role: Role::Identity, document });
            }
        }
        for function in ["onConnect", "onDisconnect", "sendMessage"] {
            let function = format!("{NAME}-{function}");
            let read = self.aws.lambda.get_policy().function_name(&function).send().await.map_err(said)?;
            let document = read.policy().unwrap_or_default().to_owned();
            made.push(Policy { name: format!("policy of {function}"), role: Role::Resource, document });
        }
        Ok(made)
    }

    async fn findings(&self, policy: &Policy) -> Result<Vec<Value>, Refusal> {
        let mut order = json!({ "policyDocument": policy.document, "policyType": "RESOURCE_POLICY" });
        match policy.role {
            Role::Identity => order["policyType"] = json!("IDENTITY_POLICY"),
            Role::Trust => order["validatePolicyResourceType"] = json!("AWS::IAM::AssumeRolePolicyDocument"),
            Role::Resource => {}
        }
        let (mut findings, mut page) = (Vec::new(), String::new());
        loop {
            let call = Call {
                service: "access-analyzer",
                method: "POST",
                at: None,
                path: format!("/policy/validation{page}"),
                content_type: "application/json",
                body: order.to_string(),
            };
            let answer: Value = serde_json::from_str(&call.send(self.place.sdk()).await?).unwrap_or_default();
            findings.extend(answer["findings"].as_array().cloned().unwrap_or_default());
            let Some(token) = answer["nextToken"].as_str() else { return Ok(findings) };
            page = format!("?nextToken={}", encoded(token));
        }
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub fn encoded(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEPT).to_string()
}
