//! The models: what the messages of a route must be like for its function to be called at all (G31).

use async_trait::async_trait;
use aws_sdk_apigatewayv2::types::Model;
use serde::Serialize;
use serde_json::{Value, json};

use super::{api, names};
use crate::app::Route;
use crate::aws::failure::{Failure, Outcome};
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Resource, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;
use crate::error::Error;

pub struct ModelKind;

/// The model of the messages of a route.
struct Messages(Route);

const JSON: &str = "application/json";
/// By which ours are known: a model of somebody else's does nothing until a route names it.
const DESCRIPTION: &str = "chatctl: messages of a route";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelSpec {
    description: String,
    content_type: String,
    /// Null where no schema was read, in runs that compare nothing.
    schema: Value,
}

impl Messages {
    fn schema(&self) -> Value {
        self.0.schema.as_ref().and_then(|schema| schema.content.clone()).unwrap_or_default()
    }
}

#[async_trait]
impl Kind for ModelKind {
    fn facts(&self) -> Facts {
        // It goes when clients meet it no more.
        Facts { referred_to_by: &[names::ROUTE, names::DEPLOYMENT, names::STAGE], ..api::child(names::MODEL) }
    }

    fn check(&self, scope: &Scope) -> Result<Option<String>, Error> {
        let is_in_vain =
            scope.endpoints.emulator.is_some() && scope.config.app.routes().iter().any(|route| route.schema.is_some());
        Ok(is_in_vain.then(|| "an emulator holds no messages to a schema; AWS does".to_owned()))
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let needs = || vec![names::api(scope)];
        let wanted = |route: &Route| Wanted::new(names::model(&route.key), needs(), Messages(route.clone()));
        names::modelled(scope).map(wanted).collect()
    }

    /// Those of our routes, by their names, and what we have made for routes that are wanted no more. No emulator is
    /// asked, for most know no models.
    async fn find(&self, ctx: &Ctx, _probe: &str) -> Result<Vec<Found>, Failure> {
        if ctx.scope.endpoints.emulator.is_some() {
            return Ok(vec![]);
        }
        let api_id = names::api_id(&ctx.scope);
        let key = &Key::new(names::MODEL, "list");
        let models = ctx.all(
            "apigateway:GetModels",
            key,
            |token| ctx.aws.apigateway.get_models().api_id(&api_id).set_next_token(token).send(),
            |page| (page.items.unwrap_or_default(), page.next_token),
        );
        let models = models.await.optional()?.unwrap_or_default();
        Ok(models.iter().filter_map(|model| found_of(&ctx.scope, model)).collect())
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let api_id = names::api_id(&ctx.scope);
        ctx.call("apigateway:DeleteModel", &found.key, || {
            ctx.aws.apigateway.delete_model().api_id(&api_id).model_id(&found.id).send()
        })
        .await
        .gone()
    }
}

#[async_trait]
impl Resource for Messages {
    fn wanted(&self, _scope: &Scope) -> Fields {
        let (description, content_type) = (DESCRIPTION.to_owned(), JSON.to_owned());
        fields(&ModelSpec { description, content_type, schema: self.schema() })
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let (api_id, name, schema) = (names::api_id(&ctx.scope), names::model_name(&self.0.key), self.schema());
        let created = ctx
            .call("apigateway:CreateModel", key, || {
                let create = ctx.aws.apigateway.create_model().api_id(&api_id).name(&name);
                create.description(DESCRIPTION).content_type(JSON).schema(schema.to_string()).send()
            })
            .await?;
        Ok(created.model_id.unwrap_or_default())
    }

    async fn update(&self, ctx: &Ctx, found: &Found, _differences: &Differences) -> Result<(), Failure> {
        let (api_id, schema) = (names::api_id(&ctx.scope), self.schema());
        ctx.call("apigateway:UpdateModel", &found.key, || {
            let update = ctx.aws.apigateway.update_model().api_id(&api_id).model_id(&found.id);
            update.description(DESCRIPTION).content_type(JSON).schema(schema.to_string()).send()
        })
        .await
        .map(drop)
    }

    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let properties = json!({
            "ApiId": names::api_id(scope),
            "Name": names::model_name(&self.0.key),
            "Description": DESCRIPTION,
            "ContentType": JSON,
            // As a text: CloudFormation would take properties called `Ref` for its own.
            "Schema": self.schema().to_string()
        });
        let logical_id = names::logical_id(&self.0.label(), "Model");
        vec![Part { logical_id, r#type: "AWS::ApiGatewayV2::Model", properties }]
    }
}

fn found_of(scope: &Scope, model: &Model) -> Option<Found> {
    let (id, name) = (model.model_id().unwrap_or_default(), model.name().unwrap_or_default());
    let route = names::modelled(scope).find(|route| names::model_name(&route.key) == name);
    let is_ours = route.is_some() || model.description() == Some(DESCRIPTION);
    let text = model.schema().unwrap_or_default();
    let spec = ModelSpec {
        description: model.description().unwrap_or_default().to_owned(),
        content_type: model.content_type().unwrap_or_default().to_owned(),
        schema: serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    };
    let key = route.map_or_else(|| Key::new(names::MODEL, id), |route| names::model(&route.key));
    is_ours.then(|| Found::new(key, id, fields(&spec)))
}
