//! What AWS says of a deployment that stands, and what it refuses: reads and calls beside `chatctl`'s own.

use std::time::Duration;

use aws_sdk_apigatewayv2::types::{Api, Integration, IntegrationType, ProtocolType, Route};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime, State};

use tokio::time::Instant;

use crate::ledger::said;
use crate::life::{Ended, Life, NAME, TWIN};

impl Life<'_> {
    pub fn role(&self) -> String {
        let region = self.place.sdk().region().map(ToString::to_string).unwrap_or_default();
        format!("{NAME}-{region}-onConnect")
    }

    pub async fn partition(&self) -> Result<String, String> {
        let role = self.aws.iam.get_role().role_name(self.role()).send().await.map_err(said)?;
        let arn = role.role().map(|role| role.arn().to_owned()).unwrap_or_default();
        Ok(arn.split(':').nth(1).unwrap_or("aws").to_owned())
    }

    pub async fn table_arn(&self) -> Result<String, String> {
        let table = self.aws.dynamodb.describe_table().table_name(format!("{NAME}-connections")).send().await;
        let table = table.map_err(said)?;
        Ok(table.table().and_then(|table| table.table_arn()).unwrap_or_default().to_owned())
    }

    /// The tags of the table that say when it expires, as AWS shows them now.
    pub async fn expiry_as_shown(&self, arn: &str) -> Option<String> {
        let tags = self.aws.dynamodb.list_tags_of_resource().resource_arn(arn).send().await.ok()?;
        tags.tags().iter().find(|tag| tag.key() == "chatctl:expires-at").map(|tag| tag.value().to_owned())
    }

    pub async fn apis_named(&self, name: &str) -> Result<Vec<Api>, String> {
        let list = |token| self.aws.apigateway.get_apis().set_next_token(token).send();
        let apis = all(async |token| list(token).await.map(|page| (page.items, page.next_token)).map_err(said)).await?;
        Ok(apis.into_iter().filter(|api| api.name() == Some(name)).collect())
    }

    pub async fn api(&self) -> Result<String, String> {
        let api = self.apis_named(NAME).await?.into_iter().next().and_then(|api| api.api_id);
        api.ok_or_else(|| "there is no API".to_owned())
    }

    pub async fn routes(&self, api: &str) -> Result<Vec<Route>, String> {
        let list = |token| self.aws.apigateway.get_routes().api_id(api).set_next_token(token).send();
        all(async |token| list(token).await.map(|page| (page.items, page.next_token)).map_err(said)).await
    }

    pub async fn integrations(&self, api: &str) -> Result<Vec<Integration>, String> {
        let list = |token| self.aws.apigateway.get_integrations().api_id(api).set_next_token(token).send();
        all(async |token| list(token).await.map(|page| (page.items, page.next_token)).map_err(said)).await
    }

    pub async fn route(&self, key: &str) -> Result<String, String> {
        let routes = self.routes(&self.api().await?).await?;
        let route = routes.iter().find(|route| route.route_key() == Some(key));
        route.and_then(|route| route.route_id()).map(str::to_owned).ok_or_else(|| format!("there is no route {key}"))
    }

    /// The roles of the deployment.
    pub async fn role_names(&self) -> Result<Vec<String>, String> {
        let pages = self.aws.iam.list_roles().path_prefix("/chatctl/").into_paginator().items().send();
        let roles: Vec<_> = pages.collect::<Result<_, _>>().await.map_err(said)?;
        let beginning = format!("{NAME}-{}-", crate::wire::region(self.place.sdk()));
        let names = roles.iter().map(|role| role.role_name().to_owned());
        Ok(names.filter(|name| name.starts_with(&beginning)).collect())
    }

    /// The names of a role's inline policies.
    pub async fn policies(&self, role: &str) -> Result<Vec<String>, String> {
        let pages = self.aws.iam.list_role_policies().role_name(role).into_paginator().items().send();
        pages.collect::<Result<_, _>>().await.map_err(said)
    }

    /// What stands of the deployment, by AWS's own lists.
    pub async fn left(&self) -> Result<Vec<String>, String> {
        let mut left: Vec<String> =
            self.apis_named(NAME).await?.iter().filter_map(|api| api.api_id().map(|id| format!("api {id}"))).collect();
        for function in ["onConnect", "onDisconnect", "sendMessage"] {
            let name = format!("{NAME}-{function}");
            if self.aws.lambda.get_function().function_name(&name).send().await.is_ok() {
                left.push(format!("function {name}"));
            }
        }
        let groups = self.aws.logs.describe_log_groups().log_group_name_prefix(format!("/aws/lambda/{NAME}-"));
        let groups = groups.send().await.map_err(said)?;
        left.extend(
            groups.log_groups().iter().filter_map(|group| group.log_group_name().map(|n| format!("log group {n}"))),
        );
        if self.table_arn().await.is_ok() {
            left.push(format!("table {NAME}-connections"));
        }
        if self.aws.iam.get_role().role_name(self.role()).send().await.is_ok() {
            left.push(format!("role {}", self.role()));
        }
        Ok(left)
    }

    /// The facts that a look at the standing deployment can tell.
    pub async fn look(&mut self) -> Ended {
        let api_id = self.api().await?;
        if let Some(api) = self.apis_named(NAME).await?.first() {
            let tagged = api.tags().is_some_and(|tags| tags.get("chatctl:name").is_some_and(|name| name == NAME));
            self.ledger.is_so("G5", "tags in the list of APIs", tagged, "the list of APIs shows tags");
            let endpoint = api.api_endpoint().unwrap_or_default().to_owned();
            let holds = !endpoint.is_empty() && !endpoint.ends_with("/prod");
            let scheme = endpoint.split_once("://").map_or("no scheme", |(scheme, _)| scheme);
            self.ledger.is_so("G15", "an endpoint without the stage", holds, format!("its scheme: {scheme}"));
            self.ledger.confirm("U4", format!("its scheme: {scheme}"));
        }
        let integrations = self.integrations(&api_id).await?;
        let long = |uri: &str| uri.contains(":lambda:path/2015-03-31/functions/") && uri.ends_with("/invocations");
        let holds = integrations
            .iter()
            .all(|one| one.integration_uri().is_some_and(long) && one.integration_method() == Some("POST"));
        self.ledger.is_so("G7", "the long form and POST", holds, format!("{} integrations", integrations.len()));
        let deployments = self.aws.apigateway.get_deployments().api_id(&api_id).send().await.map_err(said)?;
        let states: Vec<String> = deployments
            .items()
            .iter()
            .filter_map(|one| one.deployment_status().map(|status| status.as_str().to_owned()))
            .collect();
        self.ledger.is_so("G9", "DEPLOYED", states.iter().all(|state| state == "DEPLOYED"), states.join(", "));
        let routes = self.routes(&api_id).await?;
        let silent = routes.iter().all(|route| route.route_response_selection_expression().is_none());
        self.ledger.is_so("H9", "no route with a response", silent, "no route has a response");
        if self.place.runs_as_printed() || self.deployer.is_some() {
            let linked = self.aws.iam.get_role().role_name("AWSServiceRoleForAPIGateway").send().await.is_ok();
            let is = if linked { "is" } else { "is not" };
            self.ledger
                .confirm("G17", format!("the API was made without `iam:CreateServiceLinkedRole`; the role {is} there"));
        }
        self.look_at_functions().await?;
        self.look_at_roles().await?;
        let group = format!("/aws/lambda/{NAME}-onConnect");
        let groups = self.aws.logs.describe_log_groups().log_group_name_prefix(&group).send().await;
        let groups = groups.map_err(said)?;
        let days = groups.log_groups().first().and_then(|group| group.retention_in_days());
        match days {
            Some(14) => self.ledger.not_reached("L16", "this account has no retention policy"),
            other => self.ledger.confirm("L16", format!("14 days were written, {other:?} are shown")),
        }
        Ok(String::new())
    }

    async fn look_at_functions(&mut self) -> Result<(), String> {
        let function = self.aws.lambda.get_function().function_name(format!("{NAME}-onConnect")).send().await;
        let function = function.map_err(said)?;
        if let Some(configuration) = function.configuration() {
            let state = configuration.state().map_or("none", State::as_str);
            self.ledger.is_so("L3", "Active", state == "Active", format!("its state: {state}"));
            let runtime = configuration.runtime().map_or("none", Runtime::as_str);
            self.ledger.is_so("L9", "nodejs24.x", runtime == "nodejs24.x", runtime);
        }
        let policy = self.aws.lambda.get_policy().function_name(format!("{NAME}-onConnect")).send().await;
        let policy = policy.map_err(said)?;
        let policy = policy.policy().unwrap_or_default().to_owned();
        let holds = policy.contains("apigateway.amazonaws.com") && policy.contains("/*/$connect");
        self.ledger.is_so("L6", "API Gateway and one route", holds, "principal and source are as written");
        Ok(())
    }

    async fn look_at_roles(&mut self) -> Result<(), String> {
        let role = self.aws.iam.get_role().role_name(self.role()).send().await.map_err(said)?;
        let trust = role.role().and_then(|role| role.assume_role_policy_document()).unwrap_or_default().to_owned();
        let holds = trust.contains("lambda.amazonaws.com");
        self.ledger.is_so("I10", "lambda.amazonaws.com", holds, "the trusted principal is lambda.amazonaws.com");
        let listed = self.aws.iam.list_roles().path_prefix("/chatctl/").send().await.map_err(said)?;
        let tags = listed.roles().iter().any(|role| !role.tags().is_empty());
        self.ledger.is_so("I5", "no tags in ListRoles", !tags, if tags { "tags" } else { "no tags" });
        Ok(())
    }

    /// The facts that only a refused call can tell. What is taken against expectation is removed again.
    pub async fn look_at_refusals(&mut self) -> Ended {
        let api = self.api().await?;
        let gateway = self.aws.apigateway.clone();
        let again = gateway.create_route().api_id(&api).route_key("sendmessage").send().await;
        self.ledger.is_refused("G3", &["ConflictException"], &again);
        let deployments = gateway.get_deployments().api_id(&api).send().await.map_err(said)?;
        if let Some(id) = deployments.items().first().and_then(|one| one.deployment_id()) {
            let deleted = gateway.delete_deployment().api_id(&api).deployment_id(id).send().await;
            self.ledger.is_refused("G9", &["BadRequestException", "ConflictException"], &deleted);
        }
        self.look_at_twins().await?;
        let lambda = self.aws.lambda.clone();
        let role = self.aws.iam.get_role().role_name(self.role()).send().await.map_err(said)?;
        let arn = role.role().map(|role| role.arn().to_owned()).unwrap_or_default();
        let code = lambda.get_function().function_name(format!("{NAME}-onConnect")).send().await;
        code.map_err(said)?;
        let again = lambda
            .create_function()
            .function_name(format!("{NAME}-onConnect"))
            .role(&arn)
            .runtime(Runtime::from("nodejs24.x"))
            .handler("index.handler")
            .code(FunctionCode::builder().zip_file(Blob::new(EMPTY_ZIP)).build())
            .send()
            .await;
        self.ledger.is_refused("L4", &["ResourceConflictException"], &again);
        let other_case = self.role().to_uppercase();
        let again = self.aws.iam.create_role().role_name(&other_case).assume_role_policy_document(TRUST).send().await;
        if again.is_ok() {
            let _ = self.aws.iam.delete_role().role_name(&other_case).send().await;
        }
        self.ledger.is_refused("I2", &["EntityAlreadyExists"], &again);
        let deleted = self.aws.iam.delete_role().role_name(self.role()).send().await;
        self.ledger.is_refused("I3", &["DeleteConflict"], &deleted);
        let table = format!("{NAME}-connections");
        let key = KeySchemaElement::builder().attribute_name("connectionId").key_type(KeyType::Hash).build();
        let attribute = AttributeDefinition::builder()
            .attribute_name("connectionId")
            .attribute_type(ScalarAttributeType::S)
            .build();
        let again = self.aws.dynamodb.create_table().table_name(&table).billing_mode(BillingMode::PayPerRequest);
        let again = again
            .key_schema(key.map_err(|error| error.to_string())?)
            .attribute_definitions(attribute.map_err(|error| error.to_string())?)
            .send()
            .await;
        self.ledger.is_refused("D3", &["ResourceInUseException"], &again);
        let off = TimeToLiveSpecification::builder().attribute_name("expiresAt").enabled(false).build();
        let off = off.map_err(|error| error.to_string())?;
        let changed = self.aws.dynamodb.update_time_to_live().table_name(&table).time_to_live_specification(off);
        // It was set within the hour, by `up`.
        self.ledger.is_refused("D8", &["ValidationException"], &changed.send().await);
        self.look_at_spellings().await?;
        Ok(String::new())
    }

    /// A tag that IAM's rules exclude, and a log group that is protected.
    async fn look_at_spellings(&mut self) -> Result<(), String> {
        if let Some(why) = self.place.lacks() {
            self.ledger.not_reached("I6", why);
            self.ledger.not_reached("L17", why);
            return Ok(());
        }
        let tag = aws_sdk_iam::types::Tag::builder().key("by").value("a#b").build().map_err(|e| e.to_string())?;
        let tagged = self.aws.iam.tag_role().role_name(self.role()).tags(tag).send().await;
        if tagged.is_ok() {
            let untagged = self.aws.iam.untag_role().role_name(self.role()).tag_keys("by").send().await;
            untagged.map_err(said)?;
        }
        self.ledger.is_refused("I6", &["ValidationError", "InvalidInput"], &tagged);
        let (logs, group) = (self.aws.logs.clone(), format!("/aws/lambda/{NAME}-onConnect"));
        let protect = |on| {
            logs.put_log_group_deletion_protection().log_group_identifier(&group).deletion_protection_enabled(on).send()
        };
        if let Err(error) = protect(true).await {
            self.ledger.not_reached("L17", format!("it cannot be protected: {}", said(error)));
            return Ok(());
        }
        let deleted = logs.delete_log_group().log_group_name(&group).send().await;
        self.ledger.is_refused("L17", &["ValidationException"], &deleted);
        if deleted.is_ok() {
            return self.ends("up", 0).await.map(drop);
        }
        protect(false).await.map(drop).map_err(said)
    }

    /// What can be told by an API that nobody uses.
    async fn look_at_twins(&mut self) -> Result<(), String> {
        let gateway = self.aws.apigateway.clone();
        let bare = gateway.create_api().name(TWIN).protocol_type(ProtocolType::Websocket).send().await;
        self.ledger.is_refused("G6", &["BadRequestException"], &bare);
        let create = || {
            let create = gateway.create_api().name(TWIN).protocol_type(ProtocolType::Websocket);
            create.route_selection_expression("$request.body.action").send()
        };
        let first = create().await.map_err(said)?;
        let second = create().await;
        let holds = second.is_ok();
        self.ledger.is_so("G4", "a second API of the same name", holds, if holds { "two APIs" } else { "one" });
        let twin = first.api_id().unwrap_or_default();
        let arn = self.aws.lambda.get_function().function_name(format!("{NAME}-onConnect")).send().await;
        let arn = arn.map_err(said)?;
        let arn = arn.configuration().and_then(|function| function.function_arn()).unwrap_or_default().to_owned();
        let (region, partition) = (self.place.sdk().region().map(ToString::to_string), self.partition().await?);
        let nobody = arn.replace("onConnect", "nobody");
        let uri = format!(
            "arn:{partition}:apigateway:{}:lambda:path/2015-03-31/functions/{nobody}/invocations",
            region.unwrap_or_default()
        );
        let made = gateway.create_integration().api_id(twin).integration_type(IntegrationType::AwsProxy);
        let made = made.integration_uri(&uri).integration_method("POST").send().await;
        let seen = made.map_or_else(said, |_| "it does not".to_owned());
        self.ledger.confirm("U1", format!("the question is answered: {seen}"));
        self.look_at_twin(twin, &uri).await?;
        self.remove_twins().await?;
        self.ledger.confirm("G14", "an API with what is in it goes in one call");
        Ok(())
    }

    pub async fn remove_twins(&self) -> Result<(), String> {
        for api in self.apis_named(TWIN).await? {
            self.aws.apigateway.delete_api().set_api_id(api.api_id).send().await.map_err(said)?;
        }
        Ok(())
    }

    /// A role deleted and made anew by hand, under a function that goes on to name it.
    pub async fn new_role(&mut self) -> Ended {
        let (iam, role) = (self.aws.iam.clone(), self.role());
        let old = iam.get_role().role_name(&role).send().await.map_err(said)?;
        for policy in self.policies(&role).await? {
            let deleted = iam.delete_role_policy().role_name(&role).policy_name(policy).send().await;
            deleted.map_err(said)?;
        }
        let began = Instant::now();
        // IAM may go on refusing for a while (I3).
        while let Err(error) = iam.delete_role().role_name(&role).send().await {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(said(error));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.ends("up", 0).await?;
        self.ends("status", 0).await?;
        let new = iam.get_role().role_name(&role).send().await.map_err(said)?;
        let id = |role: &aws_sdk_iam::operation::get_role::GetRoleOutput| {
            role.role().map(|role| role.role_id().to_owned()).unwrap_or_default()
        };
        self.ledger.is_so("I9", "another unique id", id(&old) != id(&new), "the new role has another unique id");
        if self.place.no_clients().is_some() {
            return Ok("no client can connect here".to_owned());
        }
        // It tries for a minute; a function whose variables stay closed to it fails all that time (I12).
        let ended = self.is_well("verify").await;
        self.ledger.is_so(
            "I12",
            "a function that works again",
            ended.is_ok(),
            "clients chat after the function was replaced",
        );
        ended
    }
}

/// All pages of a list (G5).
async fn all<T>(
    page: impl AsyncFn(Option<String>) -> Result<(Option<Vec<T>>, Option<String>), String>,
) -> Result<Vec<T>, String> {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let (items, next) = page(token).await?;
        found.extend(items.unwrap_or_default());
        token = next;
        if token.is_none() {
            return Ok(found);
        }
    }
}

/// What a role for a function is trusted with.
pub const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"lambda.amazonaws.com"}}]}"#;

/// The end of a zip with nothing in it.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
