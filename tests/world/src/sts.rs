//! STS: who is calling.

use crate::context::Context;
use crate::fields::Fields;
use crate::reply::{Answer, Reply, element};

pub(crate) fn handle(cx: &mut Context<'_>, _: &'static str, fields: Fields) -> Answer {
    fields.done();
    let mut text = String::new();
    element(&mut text, "Arn", &cx.place.principal());
    element(&mut text, "UserId", "AROAEXAMPLEEXAMPLEEXA:session");
    element(&mut text, "Account", &cx.place.account);
    Ok(Reply::xml(text))
}
