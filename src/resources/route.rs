//! The routes: by which integration each kind of message is answered.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_apigatewayv2::types::{AuthorizationType, Route};
use serde::Serialize;
use serde_json::json;

use super::{api, names};
use crate::app::RouteKey;
use crate::aws::failure::{Failure, Outcome};
use crate::config::Authorizer;
use crate::engine::change::{Change, Differences};
use crate::engine::found::{Fields, Found, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, TakenBack, Wanted, reference};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub struct RouteKind;

/// A route of the app, or the one that keeps connections alive.
struct AppRoute(RouteKey);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteSpec {
    target: String,
    authorization: String,
    authorizer: Option<String>,
    api_key_required: bool,
    /// Whether what its integration answers goes back to the sender (H9).
    responds: bool,
    /// What its messages are held to, by the name of the model.
    request_model: Option<String>,
}

/// Which response a route has; there is no other (G28).
const RESPONSE: &str = "$default";

/// The key of the only model of a route: whatever the expression selects, there is no other (G31).
const ANY_MESSAGE: &str = "$default";

fn model(scope: &Scope, route_key: &str) -> Option<String> {
    let mut modelled = names::modelled(scope);
    modelled.find(|route| route.key.as_str() == route_key).map(|route| names::model_name(&route.key))
}

fn models(of: Option<&String>) -> Option<HashMap<String, String>> {
    of.map(|model| HashMap::from([(ANY_MESSAGE.to_owned(), model.clone())]))
}

/// Only `$connect` is authorized: the others come over a connection that has been.
fn spec(scope: &Scope, route_key: &str) -> RouteSpec {
    let (authorization, authorizer) = match &scope.config.authorizer {
        _ if route_key != "$connect" => (AuthorizationType::None, None),
        Authorizer::None => (AuthorizationType::None, None),
        Authorizer::Iam => (AuthorizationType::AwsIam, None),
        Authorizer::Jwt(_) | Authorizer::Lambda(_) => {
            (AuthorizationType::Custom, names::wanted_authorizer(scope).map(|key| scope.id(&key)))
        }
    };
    RouteSpec {
        target: names::target(&scope.id(&Key::new(names::INTEGRATION, route_key))),
        authorization: authorization.as_str().to_owned(),
        authorizer,
        api_key_required: false,
        responds: scope.config.app.route(route_key).is_none_or(|route| route.reply),
        request_model: model(scope, route_key),
    }
}

#[async_trait]
impl Kind for RouteKind {
    fn facts(&self) -> Facts {
        api::child(names::ROUTE)
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let routes = names::routes(scope).into_iter();
        routes
            .map(|route| {
                let mut needs = vec![names::integration(&route)];
                needs.extend(names::wanted_authorizer(scope));
                needs.extend(model(scope, route.as_str()).map(|_| names::model(&route)));
                Wanted::new(names::route(&route), needs, AppRoute(route))
            })
            .collect()
    }

    /// Of two with the same key, which only an emulator allows, the second is a stray.
    async fn find(&self, ctx: &Ctx, _probe: &str) -> Result<Vec<Found>, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let key = &Key::new(names::ROUTE, "list");
        let routes = ctx.all(
            "apigateway:GetRoutes",
            key,
            |token| ctx.aws.apigateway.get_routes().api_id(&api_id).set_next_token(token).send(),
            |page| (page.items.unwrap_or_default(), page.next_token),
        );
        let routes = routes.await.optional()?.unwrap_or_default();
        let mut found: Vec<Found> = Vec::new();
        for route in routes {
            let (id, route_key) = (route.route_id().unwrap_or_default(), route.route_key().unwrap_or_default());
            let authorization = route.authorization_type().map_or("NONE", AuthorizationType::as_str);
            let spec = RouteSpec {
                target: route.target().unwrap_or_default().to_owned(),
                authorization: authorization.to_owned(),
                // Under anything else it means nothing (G22).
                authorizer: route
                    .authorizer_id()
                    .filter(|id| !id.is_empty() && authorization == AuthorizationType::Custom.as_str())
                    .map(str::to_owned),
                api_key_required: route.api_key_required().unwrap_or_default(),
                // Without it no response of the route is ever looked at.
                responds: route.route_response_selection_expression().is_some_and(|text| !text.is_empty())
                    && !responses(ctx, key, &api_id, id).await?.is_empty(),
                request_model: model_of(&route),
            };
            let taken = found.iter().any(|other| other.key.name == route_key);
            let name = if taken { format!("{route_key} ({id})") } else { route_key.to_owned() };
            found.push(Found::new(Key::new(names::ROUTE, name), id, fields(&spec)));
        }
        Ok(found)
    }

    fn taken_back(&self, change: &Change) -> Option<TakenBack> {
        let taken = TakenBack { setting: "authorizer", now: "everybody may connect" };
        change.turns("authorization", &json!("NONE")).then_some(taken)
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let api_id = names::api_id(&ctx.scope);
        ctx.call("apigateway:DeleteRoute", &found.key, || {
            ctx.aws.apigateway.delete_route().api_id(&api_id).route_id(&found.id).send()
        })
        .await
        .gone()
    }

    /// Part of the API's; and to connect, where callers sign.
    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        if scope.config.authorizer != Authorizer::Iam {
            return vec![];
        }
        let connect = format!("*/{}/$connect", scope.config.stage);
        vec![Permission::other(&["execute-api:Invoke"], vec![scope.arn("execute-api", &connect)])]
    }
}

#[async_trait]
impl Resource for AppRoute {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&spec(scope, self.0.as_str()))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let spec = spec(&ctx.scope, self.0.as_str());
        let created = ctx
            .call("apigateway:CreateRoute", key, || {
                ctx.aws
                    .apigateway
                    .create_route()
                    .api_id(&api_id)
                    .route_key(&key.name)
                    .target(&spec.target)
                    .authorization_type(AuthorizationType::from(spec.authorization.as_str()))
                    .set_authorizer_id(spec.authorizer.clone())
                    .set_route_response_selection_expression(spec.responds.then(|| RESPONSE.to_owned()))
                    .set_request_models(models(spec.request_model.as_ref()))
                    .set_model_selection_expression(
                        spec.request_model.as_ref().map(|_| api::ROUTE_SELECTION.to_owned()),
                    )
                    .send()
            })
            .await?;
        let id = created.route_id.unwrap_or_default();
        if spec.responds {
            create_response(ctx, key, &api_id, &id).await?;
        }
        Ok(id)
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        let api_id = names::api_id(&ctx.scope);
        let spec = spec(&ctx.scope, self.0.as_str());
        let none = AuthorizationType::None.as_str();
        // Only `NONE` lets go of an authorizer (G22), which could not be deleted otherwise.
        let let_go = (!found.text("authorizer").is_empty() && spec.authorizer.is_none()).then_some(none);
        let wanted = Some(spec.authorization.as_str()).filter(|wanted| let_go != Some(wanted));
        // What is left out stays, so an empty one takes it off.
        let models =
            differences.touches("requestModel").then(|| models(spec.request_model.as_ref()).unwrap_or_default());
        let selection = models.as_ref().map(|models| if models.is_empty() { "" } else { api::ROUTE_SELECTION });
        for authorization in let_go.into_iter().chain(wanted) {
            ctx.call("apigateway:UpdateRoute", &found.key, || {
                ctx.aws
                    .apigateway
                    .update_route()
                    .api_id(&api_id)
                    .route_id(&found.id)
                    .target(&spec.target)
                    .authorization_type(AuthorizationType::from(authorization))
                    .set_authorizer_id(spec.authorizer.clone())
                    .api_key_required(false)
                    .set_route_response_selection_expression(spec.responds.then(|| RESPONSE.to_owned()))
                    .set_request_models(models.clone())
                    .set_model_selection_expression(selection.map(str::to_owned))
                    .send()
            })
            .await?;
        }
        if !differences.touches("responds") {
            return Ok(());
        }
        let key = &found.key;
        let there = responses(ctx, key, &api_id, &found.id).await?;
        if spec.responds {
            return if there.is_empty() { create_response(ctx, key, &api_id, &found.id).await } else { Ok(()) };
        }
        for response in there {
            ctx.call("apigateway:DeleteRouteResponse", key, || {
                let delete = ctx.aws.apigateway.delete_route_response();
                delete.api_id(&api_id).route_id(&found.id).route_response_id(&response).send()
            })
            .await
            .gone()?;
        }
        Ok(())
    }

    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let spec = spec(scope, self.0.as_str());
        let (api, label) = (names::api_id(scope), names::label(scope, &self.0));
        let logical_id = names::logical_id(&label, "Route");
        let mut properties = json!({
            "ApiId": api,
            "RouteKey": self.0.as_str(),
            "Target": spec.target,
            "AuthorizationType": spec.authorization
        });
        if let Some(authorizer) = spec.authorizer {
            properties["AuthorizerId"] = json!(authorizer);
        }
        if let Some(models) = models(spec.request_model.as_ref()) {
            properties["RequestModels"] = json!(models);
            properties["ModelSelectionExpression"] = json!(api::ROUTE_SELECTION);
        }
        let mut response = None;
        if spec.responds {
            properties["RouteResponseSelectionExpression"] = json!(RESPONSE);
            response = Some(Part {
                logical_id: names::logical_id(&label, "RouteResponse"),
                r#type: "AWS::ApiGatewayV2::RouteResponse",
                properties: json!({
                    "ApiId": api,
                    "RouteId": reference(&logical_id),
                    "RouteResponseKey": RESPONSE
                }),
            });
        }
        let route = Part { logical_id, r#type: "AWS::ApiGatewayV2::Route", properties };
        [route].into_iter().chain(response).collect()
    }
}

/// The model that all messages of a route are held to; nothing that we know where it is chosen in another way.
fn model_of(route: &Route) -> Option<String> {
    let models = route.request_models().filter(|models| !models.is_empty())?;
    let selection = route.model_selection_expression().unwrap_or_default();
    let only = models.get(ANY_MESSAGE).filter(|_| models.len() == 1 && selection == api::ROUTE_SELECTION);
    Some(only.cloned().unwrap_or_else(|| format!("{} by {selection}", json!(models))))
}

/// The ids of the responses of a route.
async fn responses(ctx: &Ctx, key: &Key, api_id: &str, route_id: &str) -> Result<Vec<String>, Failure> {
    let responses = ctx.all(
        "apigateway:GetRouteResponses",
        key,
        |token| {
            let get = ctx.aws.apigateway.get_route_responses();
            get.api_id(api_id).route_id(route_id).set_next_token(token).send()
        },
        |page| (page.items.unwrap_or_default(), page.next_token),
    );
    Ok(responses
        .await
        .optional()?
        .unwrap_or_default()
        .into_iter()
        .filter_map(|response| response.route_response_id)
        .collect())
}

async fn create_response(ctx: &Ctx, key: &Key, api_id: &str, route_id: &str) -> Result<(), Failure> {
    ctx.call("apigateway:CreateRouteResponse", key, || {
        let create = ctx.aws.apigateway.create_route_response();
        create.api_id(api_id).route_id(route_id).route_response_key(RESPONSE).send()
    })
    .await
    .map(drop)
}
