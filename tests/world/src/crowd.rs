//! Strangers' resources, by the thousand: an account that is not empty.

use crate::clock::Moment;
use crate::context::new_id;
use crate::dynamodb::single_key;
use crate::place::Place;
use crate::state::{Account, Api, Function, LogGroup, Role, Table, Tags};

/// How many of each to add.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowd {
    pub apis: usize,
    pub roles: usize,
    pub functions: usize,
    pub tables: usize,
    pub log_groups: usize,
}

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

pub(crate) fn populate(account: &mut Account, place: &Place, crowd: Crowd, now: Moment, ids: &mut fastrand::Rng) {
    let tags = Tags::from([("owner".to_owned(), "somebody-else".to_owned())]);
    for n in 0..crowd.roles {
        let name = format!("stranger-{n:05}");
        let role = Role {
            arn: place.global_arn("iam", &format!("role/{name}")),
            id: format!("AROA{}", new_id(ids, 17).to_uppercase()),
            path: "/".to_owned(),
            max_session_seconds: 3_600,
            trust: TRUST.to_owned(),
            tags: tags.clone(),
            created: now,
            assumable_at: now,
            name,
            ..Role::default()
        };
        account.roles.insert(role.name.clone(), role);
    }
    let region = account.region(&place.region);
    for n in 0..crowd.apis {
        let api = Api {
            id: new_id(ids, 10),
            name: format!("stranger-{n:05}"),
            protocol_type: if n % 2 == 0 { "HTTP" } else { "WEBSOCKET" }.to_owned(),
            route_selection_expression: "$request.body.action".to_owned(),
            tags: tags.clone(),
            created: now,
            ..Api::default()
        };
        region.apis.insert(api.id.clone(), api);
    }
    for n in 0..crowd.functions {
        let name = format!("stranger-{n:05}");
        let function = Function {
            arn: place.arn("lambda", &format!("function:{name}")),
            runtime: "python3.13".to_owned(),
            handler: "app.handler".to_owned(),
            role: place.global_arn("iam", "role/stranger-00000"),
            architecture: "x86_64".to_owned(),
            memory_mb: 128,
            timeout_seconds: 3,
            code_sha256: "c3RyYW5nZXI=".to_owned(),
            tags: tags.clone(),
            created: now,
            modified: now,
            active_at: now,
            updated_at: now,
            name,
            ..Function::default()
        };
        region.functions.insert(function.name.clone(), function);
    }
    for n in 0..crowd.tables {
        let name = format!("stranger-{n:05}");
        let (key_schema, attributes) = single_key("id");
        let table = Table {
            arn: place.arn("dynamodb", &format!("table/{name}")),
            id: new_id(ids, 32),
            key_schema,
            attributes,
            billing_mode: "PAY_PER_REQUEST".to_owned(),
            tags: tags.clone(),
            created: now,
            active_at: now,
            updated_at: now,
            name,
            ..Table::default()
        };
        region.tables.insert(table.name.clone(), table);
    }
    for n in 0..crowd.log_groups {
        let name = format!("/aws/lambda/stranger-{n:05}");
        let group = LogGroup {
            arn: place.arn("logs", &format!("log-group:{name}")),
            class: "STANDARD".to_owned(),
            tags: tags.clone(),
            created: now,
            name,
            ..LogGroup::default()
        };
        region.log_groups.insert(group.name.clone(), group);
    }
}
