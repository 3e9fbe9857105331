//! STS: who is calling.

use crate::context::Context;
use crate::fields::Fields;
use crate::operation::{Request, Wire, query};
use crate::reply::{Answer, Reply, element};
use crate::service::{Model, Protocol, Read, Refusals};
use crate::state::Role;

pub(crate) struct Sts;

impl Model for Sts {
    fn name(&self) -> &'static str {
        "sts"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Query("https://sts.amazonaws.com/doc/2011-06-15/")
    }

    fn read(&self, wire: &Wire<'_>) -> Read {
        query(&[("GetCallerIdentity", false)], wire)
    }

    fn handle(&self, cx: &mut Context<'_>, _: &'static str, fields: Fields) -> Answer {
        fields.done();
        let mut text = String::new();
        element(&mut text, "Arn", &cx.place.principal());
        element(&mut text, "UserId", "AROAEXAMPLEEXAMPLEEXA:session");
        element(&mut text, "Account", &cx.place.account);
        Ok(Reply::xml(text))
    }

    fn named_by(&self) -> &'static [&'static str] {
        &[]
    }

    fn refusals(&self) -> Refusals {
        Refusals::of_query("InternalFailure")
    }

    fn arn(&self, _: &Request, _: Option<&Role>) -> String {
        "*".to_owned()
    }
}
