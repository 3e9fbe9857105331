//! What IAM asks of whom: the same calls by the deployer's role, narrowed by one action each time.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_apigatewayv2::types::ProtocolType;
use serde_json::{Value, json};
use support::Account;

use crate::ledger::{Refusal, said};
use crate::life::{Ended, Life, NAME, TWIN};
use crate::wire::region;

impl Life<'_> {
    pub async fn look_at_permissions(&mut self) -> Ended {
        if self.deployer.is_none() || self.place.policy(PROBE) != PROBE {
            let why = "no role has exactly the printed policy here";
            for id in ["G16", "G27", "I13", "L14", "U3"] {
                self.ledger.not_reached(id, why);
            }
            return Ok(why.to_owned());
        }
        self.look_at_tags().await?;
        self.look_at_others().await?;
        let blind = self.narrowed(all_but("lambda:ListTags", "*")).await?;
        match blind.lambda.get_function().function_name(format!("{NAME}-onConnect")).send().await {
            Ok(found) => {
                let none = found.tags().is_none_or(std::collections::HashMap::is_empty);
                let seen = if none { "no tags, and no refusal" } else { "tags" };
                self.ledger.is_so("L14", "no tags", none, seen);
            }
            Err(error) => self.ledger.refute("L14", "an answer without tags", said(error)),
        }
        // The path of the role is between the two ends.
        let partition = self.partition().await?;
        let pattern = format!("arn:{partition}:iam::*:role/*onConnect");
        let matching = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "iam:GetRole", "Resource": pattern }
        ] });
        let matching = self.narrowed(matching).await?;
        let read = matching.iam.get_role().role_name(self.role()).send().await;
        let seen = read.as_ref().map_or_else(|error| Refusal::of(error).words(), |_| "it matches `/`".to_owned());
        self.ledger.is_so("I13", "a `*` that matches `/`", read.is_ok(), seen);
        Ok(String::new())
    }

    /// Which permission API Gateway checks for tags, in the call that creates and in its own.
    async fn look_at_tags(&mut self) -> Result<(), String> {
        let (partition, api) = (self.partition().await?, self.api().await?);
        let place = region(self.place.sdk());
        let (tags, arn) = (
            format!("arn:{partition}:apigateway:{place}::/tags/*"),
            format!("arn:{partition}:apigateway:{place}::/apis/{api}"),
        );
        let mut seen = Vec::new();
        for (action, resource) in
            [("apigateway:PUT", tags.as_str()), ("apigateway:POST", tags.as_str()), ("apigateway:TagResource", "*")]
        {
            let aws = self.narrowed(all_but(action, resource)).await?;
            let create = aws.apigateway.create_api().name(TWIN).protocol_type(ProtocolType::Websocket);
            let create =
                create.route_selection_expression("$request.body.action").tags("chatctl:name", NAME).send().await;
            let tag = aws.apigateway.tag_resource().resource_arn(&arn).tags("by", "hand").send().await;
            let word = |ok: bool| if ok { "allowed" } else { "denied" };
            let line = format!(
                "without {action} on tags: CreateApi {}, TagResource {}",
                word(create.is_ok()),
                word(tag.is_ok())
            );
            seen.push(line);
        }
        let untagged = self.aws.apigateway.untag_resource().resource_arn(&arn).tag_keys("by").send().await;
        untagged.map_err(said)?;
        self.remove_twins().await?;
        for id in ["G16", "U3"] {
            self.ledger.confirm(id, format!("the question is answered: {}", seen.join("; ")));
        }
        Ok(())
    }

    /// Whether an API that carries another deployment's tag is out of reach, and what lives in it.
    async fn look_at_others(&mut self) -> Result<(), String> {
        let create = self.aws.apigateway.create_api().name(TWIN).protocol_type(ProtocolType::Websocket);
        let create = create.route_selection_expression("$request.body.action").tags("chatctl:name", "somebody-else");
        let made = create.send().await.map_err(said)?;
        let id = made.api_id().unwrap_or_default();
        let own = self.narrowed(json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "*", "Resource": "*" }
        ] }));
        let own = own.await?;
        let api = own.apigateway.update_api().api_id(id).description("tried").send().await;
        let route = own.apigateway.create_route().api_id(id).route_key("tried").send().await;
        let seen = format!(
            "of the API: {}; of a route in it: {}",
            api.as_ref().map_or_else(|error| Refusal::of(error).code, |_| "allowed".to_owned()),
            route.as_ref().map_or_else(|error| Refusal::of(error).code, |_| "allowed".to_owned()),
        );
        self.ledger.is_so("G27", "a denial of the API", api.is_err(), seen);
        self.remove_twins().await
    }

    /// The deployer's role, of which a session may do no more than this.
    async fn narrowed(&self, policy: Value) -> Result<Account, String> {
        let iam = &self.aws.iam;
        let role = iam.get_role().role_name(crate::ROLE).send().await.map_err(said)?;
        let arn = role.role().map(|role| role.arn().to_owned()).unwrap_or_default();
        let assume =
            aws_sdk_sts::Client::new(self.place.sdk()).assume_role().role_arn(arn).role_session_name("narrowed");
        let assumed = assume.policy(policy.to_string()).send().await.map_err(said)?;
        let keys = assumed.credentials().ok_or("the answer has no credentials")?;
        let token = Some(keys.session_token().to_owned());
        let keys = Credentials::new(keys.access_key_id(), keys.secret_access_key(), token, None, "narrowed");
        let sdk = self.place.sdk().to_builder().credentials_provider(SharedCredentialsProvider::new(keys)).build();
        Ok(Account::new(&sdk))
    }
}

/// A policy that an IAM which enforces all of it leaves as it is.
const PROBE: &str = r#"{"Statement":[{"Action":"iam:GetRole","Effect":"Allow","Resource":"arn:aws:iam::*:role/one"}]}"#;

fn all_but(action: &str, resource: &str) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": action, "Resource": resource }
    ] })
}
