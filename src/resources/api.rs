//! The WebSocket API: the one resource whose id AWS chooses and whose creation is not idempotent (G4).

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_sdk_apigatewayv2::types::{Api, ProtocolType};
use serde::Serialize;
use serde_json::{Value, json};

use super::names;
use super::tags::{self, Tags};
use crate::aws::failure::{Class, Failure, Outcome};
use crate::engine::change::{Change, Differences};
use crate::engine::found::{Fields, Found, Owner, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Sign, TakenBack, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub const ROUTE_SELECTION: &str = "$request.body.action";

pub struct ApiKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiSpec {
    name: String,
    description: Option<String>,
    protocol: String,
    route_selection_expression: String,
    endpoint_enabled: bool,
    tags: Tags,
    expires_at: Option<String>,
}

/// The facts of a kind that lives in the API: its writes wait for the API's and one another's, and are seen at once.
pub const fn child(name: &'static str) -> Facts {
    Facts { lane: Some(names::API_LANE), is_seen_at_once: true, ..Facts::of(name).within(names::API) }
}

/// Every API of the account and region, page by page (G5).
pub async fn list(ctx: &Ctx) -> Result<Vec<Api>, Failure> {
    let key = &Key::new(names::API, "list");
    let apis = ctx.all(
        "apigateway:GetApis",
        key,
        |token| ctx.aws.apigateway.get_apis().max_results("100").set_next_token(token).send(),
        |page| (page.items.unwrap_or_default(), page.next_token),
    );
    apis.await
}

/// The tags of `arn`, by their own call: an emulator's lists go on showing the tags of the creation.
pub async fn tags_of(ctx: &Ctx, key: &Key, arn: &str) -> Result<Tags, Failure> {
    let answer = ctx
        .call("apigateway:GetTags", key, || ctx.aws.apigateway.get_tags().resource_arn(arn).send())
        .await
        .optional()?;
    Ok(answer.and_then(|answer| answer.tags).unwrap_or_default().into_iter().collect())
}

/// Sets and removes tags of `arn`.
pub async fn change_tags(
    ctx: &Ctx,
    key: &Key,
    arn: &str,
    set: Vec<(String, String)>,
    removed: Vec<String>,
) -> Result<(), Failure> {
    if !set.is_empty() {
        let set: HashMap<String, String> = set.into_iter().collect();
        ctx.call("apigateway:TagResource", key, || {
            ctx.aws.apigateway.tag_resource().resource_arn(arn).set_tags(Some(set.clone())).send()
        })
        .await?;
    }
    if !removed.is_empty() {
        ctx.call("apigateway:UntagResource", key, || {
            ctx.aws.apigateway.untag_resource().resource_arn(arn).set_tag_keys(Some(removed.clone())).send()
        })
        .await?;
    }
    Ok(())
}

fn all_tags(api: &Api) -> Tags {
    api.tags().cloned().unwrap_or_default().into_iter().collect()
}

/// Which of several wins when runs raced: the oldest, and among those of one second the least id (rule 1 of CONTRIBUTING.md).
fn seniority(api: &Api) -> (Option<i64>, String) {
    (api.created_date().map(|date| date.secs()), api.api_id().unwrap_or_default().to_owned())
}

/// Ours among `apis`, the survivor of any race first.
fn ours(scope: &Scope, apis: &[Api]) -> Vec<Api> {
    let mut ours: Vec<Api> =
        apis.iter().filter(|api| Owner::by_tags(scope, &all_tags(api)) == Owner::Ours).cloned().collect();
    ours.sort_by_key(seniority);
    ours
}

#[async_trait]
impl Kind for ApiKind {
    fn facts(&self) -> Facts {
        Facts {
            lane: Some(names::API_LANE),
            loss: Some("its URL stops working, and all its clients are disconnected"),
            immutable: &["protocol"],
            referred_to_by: &[names::PERMISSION, names::ROLE_POLICY],
            ..Facts::of(names::API)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        vec![Wanted::new(names::api(scope), vec![], Self)]
    }

    /// By tag. One that is shown as ours and carries no tags of ours stands in the way, like that of any other kind; what
    /// another deployment has chosen for its own does not.
    async fn find(&self, ctx: &Ctx, _probe: &str) -> Result<Vec<Found>, Failure> {
        let scope = &ctx.scope;
        let apis = list(ctx).await?;
        let mut found = Vec::new();
        for (at, api) in ours(scope, &apis).iter().enumerate() {
            let id = api.api_id().unwrap_or_default().to_owned();
            let key = if at == 0 { names::api(scope) } else { Key::new(names::API, &id) };
            let mut of_api = found_of(scope, key, id, api, all_tags(api));
            if at == 0 && of_api.differs_in_tags(scope) {
                let arn = names::api_arn(scope, &format!("/apis/{}", of_api.id));
                of_api = found_of(scope, of_api.key, of_api.id, api, tags_of(ctx, &names::api(scope), &arn).await?);
            }
            found.push(of_api);
        }
        let namesakes = apis.iter().filter(|api| api.name() == Some(scope.config.api_name.as_str()));
        let unmarked = namesakes.filter(|api| Sign::of(&all_tags(api)).is_none());
        found.extend(unmarked.map(|api| {
            let id = api.api_id().unwrap_or_default();
            let owner = Owner::by_tags(scope, &all_tags(api));
            Found { owner, ..Found::new(Key::new(names::API, id), id, Fields::new()) }
        }));
        Ok(found)
    }

    fn taken_back(&self, change: &Change) -> Option<TakenBack> {
        let taken = TakenBack { setting: "ttl", now: "`reap` will never remove it" };
        change.turns("expiresAt", &Value::Null).then_some(taken)
    }

    /// Takes along routes, integrations, deployments and stages (G14).
    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        ctx.call("apigateway:DeleteApi", &found.key, || ctx.aws.apigateway.delete_api().api_id(&found.id).send())
            .await
            .gone()
    }

    async fn signs(&self, ctx: &Ctx) -> Result<Vec<Sign>, Failure> {
        let mut apis = list(ctx).await?;
        apis.sort_by_key(seniority);
        let mut traces = Vec::new();
        for api in &apis {
            let Some(listed) = Sign::of(&all_tags(api)) else { continue };
            let id = api.api_id().unwrap_or_default();
            let key = Key::new(names::API, &listed.deployment);
            let arn = names::api_arn(&ctx.scope, &format!("/apis/{id}"));
            let now = Sign::of(&tags_of(ctx, &key, &arn).await?).unwrap_or(listed);
            let found = found_of(&ctx.scope, key, id.to_owned(), api, all_tags(api));
            traces.push(Sign { api: Some(found), ..now });
        }
        Ok(traces)
    }

    /// Authorisation is by HTTP verb, for all that lives in an API at once, and by an id that nobody knows before.
    /// Creating with tags takes more, and reports differ on what (G16): all of their forms are here.
    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let (apis, within, tags) =
            (names::api_arn(scope, "/apis"), names::api_arn(scope, "/apis/*"), names::api_arn(scope, "/tags/*"));
        let doubled = names::api_arn(scope, &names::api_arn(scope, "/tags/*"));
        vec![
            Permission::read(&["apigateway:GET"], vec![apis.clone(), within.clone(), tags.clone()]),
            Permission::write(&["apigateway:POST"], vec![apis.clone(), within.clone(), tags.clone(), doubled]),
            Permission::write(&["apigateway:PATCH"], vec![within.clone()]),
            Permission::write(&["apigateway:DELETE"], vec![within.clone(), tags.clone()]),
            Permission::write(&["apigateway:PUT"], vec![tags]),
            Permission::write(&["apigateway:TagResource", "apigateway:UntagResource"], vec![apis, within]),
        ]
    }
}

#[async_trait]
impl Resource for ApiKind {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&ApiSpec {
            name: scope.config.api_name.clone(),
            description: some(&scope.config.description),
            protocol: ProtocolType::Websocket.as_str().to_owned(),
            route_selection_expression: ROUTE_SELECTION.to_owned(),
            endpoint_enabled: true,
            tags: scope.tags(),
            expires_at: scope.expires_at.clone(),
        })
    }

    /// Sent once: after a doubtful failure the list tells whether it had its effect (G4).
    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        const TRIES: u32 = 5;
        let tags: HashMap<String, String> = ctx.scope.tags_at_creation().into_iter().collect();
        let config = &ctx.scope.config;
        let mut tries = 0;
        loop {
            let answer = ctx
                .call("apigateway:CreateApi", key, || {
                    ctx.aws
                        .apigateway
                        .create_api()
                        .name(&config.api_name)
                        .set_description(some(&config.description))
                        .protocol_type(ProtocolType::Websocket)
                        .route_selection_expression(ROUTE_SELECTION)
                        .set_tags(Some(tags.clone()))
                        .customize()
                        .config_override(once(ctx))
                        .send()
                })
                .await;
            let failure = match answer {
                Ok(api) => return Ok(api.api_id.unwrap_or_default()),
                Err(failure) => failure,
            };
            tries += 1;
            if failure.class != Class::Transient || tries == TRIES {
                return Err(failure);
            }
            ctx.waiting(key, "API Gateway to answer");
            if !ctx.pause(Duration::from_millis(500) * tries).await {
                return Err(Failure::interrupted(failure.operation, &key.to_string()));
            }
            if let Some(api) = ours(&ctx.scope, &list(ctx).await?).into_iter().next() {
                return Ok(api.api_id.unwrap_or_default());
            }
        }
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        if ["name", "description", "routeSelectionExpression", "endpointEnabled"]
            .iter()
            .any(|field| differences.touches(field))
        {
            ctx.call("apigateway:UpdateApi", &found.key, || {
                ctx.aws
                    .apigateway
                    .update_api()
                    .api_id(&found.id)
                    .name(&ctx.scope.config.api_name)
                    .description(ctx.scope.config.description.as_str())
                    .route_selection_expression(ROUTE_SELECTION)
                    .disable_execute_api_endpoint(false)
                    .send()
            })
            .await?;
        }
        let (set, removed) = tags::changed(&ctx.scope, differences);
        let arn = names::api_arn(&ctx.scope, &format!("/apis/{}", found.id));
        change_tags(ctx, &found.key, &arn, set, removed).await
    }

    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let mut properties = json!({
            "Name": scope.config.api_name,
            "ProtocolType": ProtocolType::Websocket.as_str(),
            "RouteSelectionExpression": ROUTE_SELECTION,
            "Tags": scope.tags()
        });
        if let Some(description) = some(&scope.config.description) {
            properties["Description"] = json!(description);
        }
        vec![Part { logical_id: "Api".to_owned(), r#type: "AWS::ApiGatewayV2::Api", properties }]
    }
}

impl Found {
    fn differs_in_tags(&self, scope: &Scope) -> bool {
        let wanted = ApiKind.wanted(scope);
        ["tags", "expiresAt"].iter().any(|field| self.fields.get(*field) != wanted.get(*field))
    }
}

/// No description is an empty one: only by that it is taken off (G29).
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn found_of(scope: &Scope, key: Key, id: String, api: &Api, all: Tags) -> Found {
    let owner = Owner::by_tags(scope, &all);
    let (tags, expires_at) = tags::split(all);
    let spec = ApiSpec {
        name: api.name().unwrap_or_default().to_owned(),
        description: api.description().and_then(some),
        protocol: api.protocol_type().map_or("", ProtocolType::as_str).to_owned(),
        route_selection_expression: api.route_selection_expression().unwrap_or_default().to_owned(),
        endpoint_enabled: api.disable_execute_api_endpoint() != Some(true),
        tags,
        expires_at,
    };
    let mut found = Found { owner, ..Found::new(key, id, fields(&spec)) };
    found.attributes.extend(api.api_endpoint().map(|endpoint| ("endpoint", endpoint.to_owned())));
    found.attributes.extend(api.created_date().map(|date| ("created", date.secs().to_string())));
    found
}

/// Without the SDK's retries: for calls that must not be repeated blindly.
pub fn once(ctx: &Ctx) -> aws_sdk_apigatewayv2::config::Builder {
    let attempts = ctx.aws.apigateway.config().retry_config().cloned().unwrap_or_else(RetryConfig::standard);
    aws_sdk_apigatewayv2::Config::builder().retry_config(attempts.with_max_attempts(1))
}
