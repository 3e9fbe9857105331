//! Tags of APIs and stages, by ARN (G16).

use serde_json::json;

use super::{api_in, bad_request, not_found};
use crate::context::Context;
use crate::fields::Fields;
use crate::reply::{Answer, Refusal, Reply};
use crate::rules;
use crate::state::Tags;

pub(super) fn get(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.label("resourceArn");
    fields.done();
    let tags = tags_of(cx, &arn)?;
    Ok(Reply::json(200, json!({ "tags": tags })))
}

pub(super) fn tag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (arn, new) = (fields.label("resourceArn"), fields.text_map("tags").unwrap_or_default());
    fields.done();
    let tags = tags_of(cx, &arn)?;
    let mut all = tags.clone();
    all.extend(new);
    if let Some(fault) = rules::tags_fault(&all) {
        return Err(bad_request(fault));
    }
    *tags = all;
    Ok(Reply::json(201, json!({})))
}

pub(super) fn untag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (arn, keys) = (fields.label("resourceArn"), fields.texts("tagKeys").unwrap_or_default());
    fields.done();
    let tags = tags_of(cx, &arn)?;
    for key in &keys {
        tags.remove(key);
    }
    Ok(Reply::empty(204))
}

fn tags_of<'a>(cx: &'a mut Context<'_>, arn: &str) -> Result<&'a mut Tags, Refusal> {
    let prefix = cx.place.apigateway_arn("/apis/");
    let path = arn.strip_prefix(&prefix).ok_or_else(|| bad_request(format!("Invalid resource ARN: {arn}")))?;
    let region = cx.account.region(&cx.place.region);
    match path.split_once("/stages/") {
        None => Ok(&mut api_in(region, &cx.place.account, path)?.tags),
        Some((api_id, name)) => {
            let stage = api_in(region, &cx.place.account, api_id)?.stages.get_mut(name);
            stage.map(|stage| &mut stage.tags).ok_or_else(|| not_found("Invalid stage identifier specified"))
        }
    }
}
