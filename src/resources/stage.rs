//! The stage: what clients connect to, pointing at the deployment.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_apigatewayv2::types::{RouteSettings, Stage};
use serde::Serialize;
use serde_json::json;

use super::tags::{self, Tags};
use super::{api, names};
use crate::aws::failure::{Failure, Outcome};
use crate::config::Throttle;
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Resource, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

const LIVE: &str = "made by chatctl";
/// Written before a route is changed in place: should the run die before it has deployed that, the next one knows.
pub const OUTDATED: &str = "made by chatctl: routes were changed and not yet deployed";

/// The account's own limits (H1). UpdateStage cannot take a throttle off (G11), and a new stage would cut every connection
/// (G23), so that these stand for none.
const ACCOUNT: Throttle = Throttle { rate: 10_000, burst: 5_000 };

pub struct StageKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StageSpec {
    deployment: String,
    description: String,
    /// Each change would make a deployment of its own (G10).
    auto_deploy: bool,
    throttle_rate: Option<i32>,
    throttle_burst: Option<i32>,
    /// What single routes take, where it is not what the stage does.
    route_throttles: BTreeMap<String, String>,
    tags: Tags,
}

/// The routes that are throttled by themselves. `$connect` is none unless it is asked for: who floods a chat must not
/// lock others out.
fn throttled_routes(scope: &Scope) -> BTreeMap<&str, Throttle> {
    let messages = scope.config.message_throttle.map(|throttle| ("sendmessage", throttle));
    let routes = scope.config.app.routes().iter();
    let own = routes.filter_map(|route| Some((route.key.as_str(), route.throttle?)));
    messages.into_iter().chain(own).collect()
}

/// Whether routes were changed since its deployment was taken.
pub fn is_outdated(found: &Found) -> bool {
    found.text("description") == OUTDATED
}

/// Notes on the stage that what its deployment is a snapshot of is about to change.
///
/// # Errors
/// When the stage cannot be written.
pub async fn mark_outdated(ctx: &Ctx) -> Result<(), Failure> {
    let key = names::stage(&ctx.scope);
    if !ctx.run.book.stands(&key) {
        return Ok(());
    }
    let api_id = names::api_id(&ctx.scope);
    let updated = ctx
        .call("apigateway:UpdateStage", &key, || {
            ctx.aws.apigateway.update_stage().api_id(&api_id).stage_name(&key.name).description(OUTDATED).send()
        })
        .await
        .optional()?;
    // The settings of a route go before it (G25).
    take_off(ctx, &key, &api_id, updated.and_then(|updated| updated.route_settings)).await
}

/// Takes off the settings of routes that are to have none; AWS merges them (G11), an emulator replaces.
async fn take_off(
    ctx: &Ctx,
    key: &Key,
    api_id: &str,
    there: Option<HashMap<String, RouteSettings>>,
) -> Result<(), Failure> {
    let wanted = throttled_routes(&ctx.scope);
    for route in there.unwrap_or_default().keys().filter(|route| !wanted.contains_key(route.as_str())) {
        ctx.call("apigateway:DeleteRouteSettings", key, || {
            let delete = ctx.aws.apigateway.delete_route_settings();
            delete.api_id(api_id).stage_name(&key.name).route_key(route).send()
        })
        .await
        .gone()?;
    }
    Ok(())
}

fn arn_of(ctx: &Ctx, api_id: &str, name: &str) -> String {
    names::api_arn(&ctx.scope, &format!("/apis/{api_id}/stages/{name}"))
}

#[async_trait]
impl Kind for StageKind {
    fn facts(&self) -> Facts {
        Facts { loss: Some("its URL stops working, and all its clients are disconnected"), ..api::child(names::STAGE) }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        vec![Wanted::new(names::stage(scope), vec![names::deployment(scope)], Self)]
    }

    async fn find(&self, ctx: &Ctx, _probe: &str) -> Result<Vec<Found>, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let key = &Key::new(names::STAGE, "list");
        let stages = ctx.all(
            "apigateway:GetStages",
            key,
            |token| ctx.aws.apigateway.get_stages().api_id(&api_id).set_next_token(token).send(),
            |page| (page.items.unwrap_or_default(), page.next_token),
        );
        let stages = stages.await.optional()?.unwrap_or_default();
        let mut found = Vec::new();
        for stage in &stages {
            let key = Key::new(names::STAGE, stage.stage_name().unwrap_or_default());
            let mut tags: Tags = stage.tags().cloned().unwrap_or_default().into_iter().collect();
            if key == names::stage(&ctx.scope) && tags::split(tags.clone()).0 != ctx.scope.tags() {
                tags = api::tags_of(ctx, &key, &arn_of(ctx, &api_id, &key.name)).await?;
            }
            found.push(found_of(key, stage, tags::split(tags).0));
        }
        Ok(found)
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let api_id = names::api_id(&ctx.scope);
        ctx.call("apigateway:DeleteStage", &found.key, || {
            ctx.aws.apigateway.delete_stage().api_id(&api_id).stage_name(&found.key.name).send()
        })
        .await
        .gone()
    }
}

#[async_trait]
impl Resource for StageKind {
    fn wanted(&self, scope: &Scope) -> Fields {
        let throttle = scope.config.throttle.filter(|throttle| *throttle != ACCOUNT);
        fields(&StageSpec {
            deployment: scope.id(&names::deployment(scope)),
            description: LIVE.to_owned(),
            auto_deploy: false,
            throttle_rate: throttle.map(|throttle| throttle.rate),
            throttle_burst: throttle.map(|throttle| throttle.burst),
            route_throttles: throttled_routes(scope)
                .into_iter()
                .map(|(route, throttle)| {
                    (route.to_owned(), shown(Some(f64::from(throttle.rate)), Some(throttle.burst)))
                })
                .collect(),
            tags: scope.tags(),
        })
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let deployment_id = ctx.scope.id(&names::deployment(&ctx.scope));
        let tags: HashMap<String, String> = ctx.scope.tags_at_creation().into_iter().collect();
        ctx.call("apigateway:CreateStage", key, || {
            ctx.aws
                .apigateway
                .create_stage()
                .api_id(&api_id)
                .stage_name(&key.name)
                .deployment_id(&deployment_id)
                .description(LIVE)
                .set_default_route_settings(ctx.scope.config.throttle.map(settings))
                .set_route_settings(Some(route_settings(ctx)))
                .set_tags(Some(tags.clone()))
                .send()
        })
        .await?;
        Ok(key.name.clone())
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        let (key, apigateway) = (&found.key, &ctx.aws.apigateway);
        let api_id = names::api_id(&ctx.scope);
        let throttle_changes = differences.touches("throttleRate") || differences.touches("throttleBurst");
        if differences.touches("autoDeploy") {
            // Before anything else: with it on, no deployment can be attached (G10).
            ctx.call("apigateway:UpdateStage", key, || {
                apigateway.update_stage().api_id(&api_id).stage_name(&key.name).auto_deploy(false).send()
            })
            .await?;
        }
        if throttle_changes
            || ["deployment", "description", "routeThrottles"].iter().any(|field| differences.touches(field))
        {
            let throttle = ctx.scope.config.throttle.or(throttle_changes.then_some(ACCOUNT));
            let deployment_id = ctx.scope.id(&names::deployment(&ctx.scope));
            let updated = ctx
                .call("apigateway:UpdateStage", key, || {
                    apigateway
                        .update_stage()
                        .api_id(&api_id)
                        .stage_name(&key.name)
                        .deployment_id(&deployment_id)
                        .description(LIVE)
                        .set_default_route_settings(throttle.map(settings))
                        .set_route_settings(Some(route_settings(ctx)))
                        .send()
                })
                .await?;
            take_off(ctx, key, &api_id, updated.route_settings).await?;
        }
        let (set, removed) = differences.entries("tags");
        api::change_tags(ctx, key, &arn_of(ctx, &api_id, &key.name), set, removed).await
    }

    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let mut properties = json!({
            "ApiId": names::api_id(scope),
            "StageName": scope.config.stage,
            "DeploymentId": scope.id(&names::deployment(scope)),
            "Description": LIVE,
            "Tags": scope.tags()
        });
        let settings = |Throttle { rate, burst }| json!({ "ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst });
        if let Some(throttle) = scope.config.throttle {
            properties["DefaultRouteSettings"] = settings(throttle);
        }
        for (route, throttle) in throttled_routes(scope) {
            properties["RouteSettings"][route] = settings(throttle);
        }
        vec![Part { logical_id: "Stage".to_owned(), r#type: "AWS::ApiGatewayV2::Stage", properties }]
    }
}

/// Always both numbers: a lone one is stored as zero, and zero refuses everybody (G12).
fn settings(throttle: Throttle) -> RouteSettings {
    RouteSettings::builder()
        .throttling_rate_limit(f64::from(throttle.rate))
        .throttling_burst_limit(throttle.burst)
        .build()
}

fn route_settings(ctx: &Ctx) -> HashMap<String, RouteSettings> {
    throttled_routes(&ctx.scope).into_iter().map(|(route, throttle)| (route.to_owned(), settings(throttle))).collect()
}

fn shown(rate: Option<f64>, burst: Option<i32>) -> String {
    format!("{} a second, burst {}", rate.unwrap_or_default(), burst.unwrap_or_default())
}

fn found_of(key: Key, stage: &Stage, tags: Tags) -> Found {
    #[expect(clippy::cast_possible_truncation, reason = "a rate is a whole number of at most 1,000,000")]
    let throttle = stage
        .default_route_settings()
        .and_then(|limits| {
            let (rate, burst) = (limits.throttling_rate_limit(), limits.throttling_burst_limit());
            // One alone counts as zero for the other (G12).
            (rate.is_some() || burst.is_some())
                .then(|| Throttle { rate: rate.unwrap_or_default() as i32, burst: burst.unwrap_or_default() })
        })
        .filter(|throttle| *throttle != ACCOUNT);
    let id = key.name.clone();
    let spec = StageSpec {
        deployment: stage.deployment_id().unwrap_or_default().to_owned(),
        description: stage.description().unwrap_or_default().to_owned(),
        auto_deploy: stage.auto_deploy() == Some(true),
        throttle_rate: throttle.map(|throttle| throttle.rate),
        throttle_burst: throttle.map(|throttle| throttle.burst),
        route_throttles: stage
            .route_settings()
            .into_iter()
            .flatten()
            .map(|(route, limits)| {
                (route.clone(), shown(limits.throttling_rate_limit(), limits.throttling_burst_limit()))
            })
            .collect(),
        tags,
    };
    Found::new(key, id, fields(&spec))
}
