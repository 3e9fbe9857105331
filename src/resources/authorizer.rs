//! The optional authorizer of `$connect`: a Lambda function, ours or the user's, that decides by REQUEST.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_apigatewayv2::types::AuthorizerType;
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::json;

use super::{api, authorizer_permission, names};
use crate::aws::failure::{Failure, Outcome};
use crate::config::{Authorizer, TokenPlace};
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Resource, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub struct AuthorizerKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizerSpec {
    r#type: String,
    uri: String,
    /// What a handshake must have, or it is refused unasked.
    identity_source: Vec<String>,
}

fn uri(scope: &Scope) -> String {
    names::authorizer_function(scope).map_or_else(String::new, |function| names::invocation_uri(scope, &function))
}

/// Of a header nothing is asked here: clients write its name in their own ways, and whether API Gateway finds it in each is
/// not known (G30).
fn identity_source(scope: &Scope) -> Vec<String> {
    let Authorizer::Jwt(jwt) = &scope.config.authorizer else { return vec![] };
    match &jwt.token {
        TokenPlace::Query(name) => vec![format!("route.request.querystring.{name}")],
        TokenPlace::Protocol => vec!["route.request.header.Sec-WebSocket-Protocol".to_owned()],
        TokenPlace::Header(_) => vec![],
    }
}

fn spec(scope: &Scope) -> AuthorizerSpec {
    AuthorizerSpec {
        r#type: AuthorizerType::Request.as_str().to_owned(),
        uri: uri(scope),
        identity_source: identity_source(scope),
    }
}

#[async_trait]
impl Kind for AuthorizerKind {
    fn facts(&self) -> Facts {
        Facts {
            // It goes when clients meet it no more, and after what it left on its function, of which nothing else tells.
            referred_to_by: &[names::ROUTE, names::DEPLOYMENT, names::STAGE, names::AUTHORIZER_PERMISSION],
            ..api::child(names::AUTHORIZER)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        names::wanted_authorizer(scope).map(|key| Wanted::new(key, vec![names::api(scope)], Self)).into_iter().collect()
    }

    /// And what is left of them on the functions of those that are not wanted, as long as there is one to tell of it.
    async fn find(&self, ctx: &Ctx, _probe: &str) -> Result<Vec<Found>, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let key = &Key::new(names::AUTHORIZER, "list");
        let authorizers = ctx.all(
            "apigateway:GetAuthorizers",
            key,
            |token| ctx.aws.apigateway.get_authorizers().api_id(&api_id).set_next_token(token).send(),
            |page| (page.items.unwrap_or_default(), page.next_token),
        );
        let wanted = names::wanted_authorizer(&ctx.scope);
        let mut found: Vec<Found> = Vec::new();
        for authorizer in authorizers.await.optional()?.unwrap_or_default() {
            let id = authorizer.authorizer_id().unwrap_or_default();
            let spec = AuthorizerSpec {
                r#type: authorizer.authorizer_type().map_or("", AuthorizerType::as_str).to_owned(),
                uri: authorizer.authorizer_uri().unwrap_or_default().to_owned(),
                identity_source: authorizer.identity_source().to_vec(),
            };
            let ours = wanted.as_ref().filter(|key| authorizer.name() == Some(key.name.as_str()));
            let ours = ours.filter(|key| found.iter().all(|found| found.key != **key));
            let key = ours.cloned().unwrap_or_else(|| Key::new(names::AUTHORIZER, id));
            found.push(Found::new(key, id, fields(&spec)));
        }
        let used = names::authorizer_function(&ctx.scope);
        let account = used.as_deref().and_then(|arn| names::other_account(ctx.scope.identity.as_ref(), arn));
        if let (Some(key), Some(account)) = (wanted, account)
            && !ctx.run.book.all_deferred().contains(&(key.clone(), "function"))
        {
            let why = format!(
                "its function belongs to the account {account}, and only its owner can let API Gateway call it"
            );
            ctx.defer(&key, "function", &why);
        }
        let functions: BTreeSet<&str> = found.iter().filter_map(authorizer_permission::function_of).collect();
        let unused = functions.into_iter().filter(|function| Some(*function) != used.as_deref());
        let left = try_join_all(unused.map(|function| authorizer_permission::left_on(ctx, function))).await?;
        found.extend(left.into_iter().flatten());
        Ok(found)
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let api_id = names::api_id(&ctx.scope);
        ctx.call("apigateway:DeleteAuthorizer", &found.key, || {
            ctx.aws.apigateway.delete_authorizer().api_id(&api_id).authorizer_id(&found.id).send()
        })
        .await
        .gone()
    }
}

#[async_trait]
impl Resource for AuthorizerKind {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&spec(scope))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let spec = spec(&ctx.scope);
        let created = ctx
            .call("apigateway:CreateAuthorizer", key, || {
                ctx.aws
                    .apigateway
                    .create_authorizer()
                    .api_id(&api_id)
                    .name(&key.name)
                    .authorizer_type(AuthorizerType::Request)
                    .authorizer_uri(&spec.uri)
                    // Required, even where it asks for nothing (G21).
                    .set_identity_source(Some(spec.identity_source.clone()))
                    .send()
            })
            .await?;
        Ok(created.authorizer_id.unwrap_or_default())
    }

    async fn update(&self, ctx: &Ctx, found: &Found, _differences: &Differences) -> Result<(), Failure> {
        let api_id = names::api_id(&ctx.scope);
        let spec = spec(&ctx.scope);
        ctx.call("apigateway:UpdateAuthorizer", &found.key, || {
            ctx.aws
                .apigateway
                .update_authorizer()
                .api_id(&api_id)
                .authorizer_id(&found.id)
                .authorizer_type(AuthorizerType::Request)
                .authorizer_uri(&spec.uri)
                .set_identity_source(Some(spec.identity_source.clone()))
                .send()
        })
        .await
        .map(drop)
    }

    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part> {
        let properties = json!({
            "ApiId": names::api_id(scope),
            "Name": key.name,
            "AuthorizerType": AuthorizerType::Request.as_str(),
            "AuthorizerUri": uri(scope),
            "IdentitySource": identity_source(scope)
        });
        vec![Part { logical_id: "Authorizer".to_owned(), r#type: "AWS::ApiGatewayV2::Authorizer", properties }]
    }
}
