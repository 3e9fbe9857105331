//! What API Gateway takes and refuses: of an API that nobody uses, and of the deployment's stage, which `up` mends afterwards.

use std::time::Duration;

use aws_sdk_apigatewayv2::types::{AccessLogSettings, AuthorizerType, RouteSettings};
use chatctl::websocket::{Auth, Endpoint};
use futures_util::StreamExt;

use crate::ledger::said;
use crate::life::{Ended, Life, NAME};

impl Life<'_> {
    /// Edits that AWS takes in its own way, and some that it does not take.
    pub async fn look_at_stage(&mut self) -> Ended {
        let (api, gateway) = (self.api().await?, self.aws.apigateway.clone());
        let stage = || gateway.get_stage().api_id(&api).stage_name("prod").send();
        let update = || gateway.update_stage().api_id(&api).stage_name("prod");
        let before = stage().await.map_err(said)?;
        let half = RouteSettings::builder().throttling_rate_limit(50.0).build();
        update().default_route_settings(half).send().await.map_err(said)?;
        let after = stage().await.map_err(said)?;
        let kept = before.deployment_id() == after.deployment_id() && before.route_settings() == after.route_settings();
        self.ledger.is_so("G11", "what was left out", kept, format!("deployment and routes' settings kept: {kept}"));
        let burst = after.default_route_settings().and_then(|settings| settings.throttling_burst_limit());
        self.ledger.is_so("G12", "a burst of zero", burst == Some(0), format!("a rate alone is a burst of {burst:?}"));
        let whole = RouteSettings::builder().throttling_rate_limit(50.0).throttling_burst_limit(50).build();
        let unknown = update().route_settings("nobody", whole).send().await;
        self.ledger.is_refused("G25", &["BadRequestException", "NotFoundException"], &unknown);
        let own = gateway.create_route().api_id(&api).route_key("$mine").send().await;
        self.ledger.is_refused("G26", &["BadRequestException"], &own);
        update().auto_deploy(true).send().await.map_err(said)?;
        let attached = update().set_deployment_id(before.deployment_id).send().await;
        self.ledger.is_refused("G10", &["BadRequestException", "ConflictException"], &attached);
        self.ends("up", 0).await?;
        self.ends("status", 0).await?;
        Ok(String::new())
    }

    /// With a route, stages and a deployment, and then without any of it.
    pub async fn look_at_twin(&mut self, api: &str, integration: &str) -> Result<(), String> {
        if let Some(why) = self.place.lacks() {
            for id in ["G8", "G13", "G18", "G21", "G23"] {
                self.ledger.not_reached(id, why);
            }
            return Ok(());
        }
        let gateway = self.aws.apigateway.clone();
        let bare = gateway.create_authorizer().api_id(api).name("nobody").authorizer_type(AuthorizerType::Request);
        self.ledger.is_refused("G21", &["BadRequestException"], &bare.authorizer_uri(integration).send().await);
        let misspelt = gateway.create_stage().api_id(api).stage_name("a.b").send().await;
        // That there are numbers is documented, and would take hundreds of calls of an account's ten a second.
        self.ledger.is_refused("G18", &["BadRequestException"], &misspelt);
        gateway.create_stage().api_id(api).stage_name("prod").send().await.map_err(said)?;
        let url = self.url.replacen(&self.api().await?, api, 1);
        let client = Endpoint { url, auth: Auth::None };
        if self.place.no_clients().is_none() {
            match client.connect().await {
                Ok(_) => self.ledger.refute("G8", "403 of a stage without a deployment", "clients connect"),
                Err(error) => {
                    let is_403 = error.to_string().contains("403");
                    self.ledger.is_so("G8", "403 of a stage without a deployment", is_403, error.to_string());
                }
            }
        }
        let groups = self.aws.logs.describe_log_groups().log_group_name_prefix(format!("/aws/lambda/{NAME}-onConnect"));
        let groups = groups.send().await.map_err(said)?;
        let group = groups.log_groups().first().and_then(|group| group.arn()).unwrap_or_default();
        let group = group.trim_end_matches(":*");
        let logs = AccessLogSettings::builder().destination_arn(group).format("$context.requestId").build();
        let logged = gateway.update_stage().api_id(api).stage_name("prod").access_log_settings(logs).send().await;
        match &logged {
            Ok(_) => self.ledger.not_reached("G13", "this account has a role for logs, or needs none"),
            Err(_) => self.ledger.is_refused("G13", &["BadRequestException"], &logged),
        }
        gateway.create_route().api_id(api).route_key("hello").send().await.map_err(said)?;
        let deployment = gateway.create_deployment().api_id(api).send().await.map_err(said)?;
        let attach = gateway.update_stage().api_id(api).stage_name("prod");
        attach.set_deployment_id(deployment.deployment_id).send().await.map_err(said)?;
        if self.place.no_clients().is_none() {
            self.look_at_cut(&client, api).await?;
        }
        Ok(())
    }

    /// A client stays connected until its stage is deleted.
    async fn look_at_cut(&mut self, client: &Endpoint, api: &str) -> Result<(), String> {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut socket = match client.connect().await {
            Ok(socket) => socket,
            Err(error) => {
                self.ledger.not_reached("G23", format!("no client connects without a function: {error}"));
                return Ok(());
            }
        };
        self.aws.apigateway.delete_stage().api_id(api).stage_name("prod").send().await.map_err(said)?;
        let closed = async {
            while let Some(Ok(frame)) = socket.next().await
                && !frame.is_close()
            {}
        };
        let is_cut = tokio::time::timeout(Duration::from_secs(10), closed).await.is_ok();
        let seen = if is_cut { "the client was cut off" } else { "the client is connected after 10 s" };
        self.ledger.is_so("G23", "clients that are cut off", is_cut, seen);
        Ok(())
    }
}
