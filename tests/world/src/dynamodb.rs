//! DynamoDB's control plane: tables, their tags and their time to live.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::clock::{self, Moment};
use crate::context::{Context, limit, new_id, page};
use crate::fields::{Fields, tags_of};
use crate::operation::{Operations, Request, Wire, target};
use crate::reply::{Answer, Refusal, Reply};
use crate::rules::{self, Arn, spelled};
use crate::service::{Model, Protocol, Read, Refusals};
use crate::state::{Role, Table, Tags, TimeToLive};

const OPERATIONS: Operations = &[
    ("CreateTable", true),
    ("DescribeTable", false),
    ("UpdateTable", true),
    ("DeleteTable", true),
    ("ListTables", false),
    ("UpdateTimeToLive", true),
    ("DescribeTimeToLive", false),
    ("TagResource", true),
    ("UntagResource", true),
    ("ListTagsOfResource", false),
];

pub(crate) struct DynamoDb;

impl Model for DynamoDb {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Json("1.0")
    }

    fn read(&self, wire: &Wire<'_>) -> Read {
        target("DynamoDB_20120810.", OPERATIONS, wire)
    }

    fn handle(&self, cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
        handle(cx, operation, fields)
    }

    fn named_by(&self) -> &'static [&'static str] {
        &["TableName", "ResourceArn"]
    }

    fn refusals(&self) -> Refusals {
        Refusals {
            denied: (400, "AccessDeniedException"),
            throttled: (400, "ThrottlingException", "Rate of requests exceeds the allowed throughput."),
            expired: (400, "ExpiredTokenException"),
            skewed: (400, "InvalidSignatureException"),
            broken: "InternalServerError",
            unavailable: "ServiceUnavailable",
        }
    }

    fn error(&self, Refusal { code, message, .. }: &Refusal) -> Value {
        let space = match code.as_ref() {
            "ValidationException" | "AccessDeniedException" | "ThrottlingException" => "com.amazon.coral.service",
            _ => "com.amazonaws.dynamodb.v20120810",
        };
        json!({ "__type": format!("{space}#{code}"), "message": message })
    }

    fn arn(&self, request: &Request, _: Option<&Role>) -> String {
        match request.resource.as_str() {
            "" => "*".to_owned(),
            arn if arn.starts_with("arn:") => arn.to_owned(),
            name => request.place.arn("dynamodb", &format!("table/{name}")),
        }
    }

    fn tagging(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("CreateTable", "Tags", "dynamodb:TagResource")]
    }
}

fn handle(cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
    match operation {
        "CreateTable" => create(cx, fields),
        "DescribeTable" => describe(cx, fields),
        "UpdateTable" => update(cx, fields),
        "DeleteTable" => delete(cx, fields),
        "ListTables" => list(cx, fields),
        "UpdateTimeToLive" => update_ttl(cx, fields),
        "DescribeTimeToLive" => describe_ttl(cx, fields),
        "TagResource" => tag(cx, fields),
        "UntagResource" => untag(cx, fields),
        "ListTagsOfResource" => list_tags(cx, fields),
        other => unreachable!("{other} is not routed here"),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationException", message)
}

fn in_use(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ResourceInUseException", message)
}

fn not_found(name: &str) -> Refusal {
    let message = format!("Requested resource not found: Table: {name} not found");
    Refusal::new(400, "ResourceNotFoundException", message)
}

fn table<'a>(cx: &'a mut Context<'_>, name: &str) -> Result<&'a mut Table, Refusal> {
    cx.account.region(&cx.place.region).tables.get_mut(name).ok_or_else(|| not_found(name))
}

/// When every read of tags that are written now gives them (D9).
fn tags_shown_at(cx: &mut Context<'_>) -> Moment {
    let most = cx.switches.table_tags_lag;
    if most.is_zero() { cx.now } else { cx.now + most.mul_f64(cx.ids.f64()) }
}

fn write_tags(table: &mut Table, tags: Tags, shown_at: Moment) {
    table.old_tags = std::mem::replace(&mut table.tags, tags);
    table.tags_shown_at = shown_at;
}

/// The table of an ARN, for the tag operations.
fn table_by_arn<'a>(cx: &'a mut Context<'_>, arn: &str) -> Result<&'a mut Table, Refusal> {
    let name = Arn::read(arn)
        .filter(|parts| parts.service == "dynamodb" && parts.is_in(cx.place))
        .and_then(|parts| parts.rest.strip_prefix("table/"))
        .ok_or_else(|| invalid(format!("Invalid TableArn: Invalid ResourceArn provided as input {arn}")))?;
    cx.account.region(&cx.place.region).tables.get_mut(name).ok_or_else(|| arn_not_found(arn))
}

fn arn_not_found(arn: &str) -> Refusal {
    let message = format!("Requested resource not found: ResourcArn: {arn} not found");
    Refusal::new(400, "ResourceNotFoundException", message)
}

fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("TableName").unwrap_or_default();
    let tags_shown_at = tags_shown_at(cx);
    let mut table = Table {
        tags_shown_at,
        arn: cx.place.arn("dynamodb", &format!("table/{name}")),
        id: new_id(cx.ids, 32),
        key_schema: pairs(fields.objects("KeySchema"), "AttributeName", "KeyType"),
        attributes: pairs(fields.objects("AttributeDefinitions"), "AttributeName", "AttributeType")
            .into_iter()
            .collect(),
        billing_mode: "PROVISIONED".to_owned(),
        tags: tags_of(fields.tag_list("Tags").unwrap_or_default()),
        created: cx.now,
        active_at: cx.now + cx.switches.table_creating,
        updated_at: cx.now,
        name,
        ..Table::default()
    };
    for index in fields.objects("GlobalSecondaryIndexes").unwrap_or_default() {
        let (name, hash_key) = index_of(index);
        table.indexes.insert(name, hash_key);
    }
    fill(&mut table, &mut fields);
    fields.done();
    check(&table)?;
    if let Some(fault) = rules::tags_fault(&table.tags) {
        return Err(invalid(fault));
    }
    let region = cx.account.region(&cx.place.region);
    // D3, also while the old one is being deleted (D2).
    if region.tables.contains_key(&table.name) {
        return Err(in_use(format!("Table already exists: {}", table.name)));
    }
    let body = json!({ "TableDescription": description(&table, cx.now) });
    region.tables.insert(table.name.clone(), table);
    Ok(Reply::json(200, body))
}

fn pairs(list: Option<Vec<Fields>>, first: &str, second: &str) -> Vec<(String, String)> {
    let pair = |mut fields: Fields| {
        let pair = (fields.label(first), fields.label(second));
        fields.done();
        pair
    };
    list.unwrap_or_default().into_iter().map(pair).collect()
}

/// The name and the hash key of an index.
fn index_of(mut fields: Fields) -> (String, String) {
    let name = fields.label("IndexName");
    let schema = pairs(fields.objects("KeySchema"), "AttributeName", "KeyType");
    let mut projection = fields.object("Projection").expect("world: an index has a projection");
    assert_eq!(projection.label("ProjectionType"), "ALL", "world: indexes have all attributes");
    projection.done();
    fields.done();
    let [(hash_key, _)] = schema.try_into().expect("world: an index has a hash key alone");
    (name, hash_key)
}

/// One index at a time (D10).
fn change_indexes(table: &mut Table, fields: &mut Fields) -> Result<(), Refusal> {
    let updates = fields.objects("GlobalSecondaryIndexUpdates").unwrap_or_default();
    table.attributes.extend(pairs(fields.objects("AttributeDefinitions"), "AttributeName", "AttributeType"));
    if updates.len() > 1 {
        let message =
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table";
        return Err(Refusal::new(400, "LimitExceededException", message));
    }
    for mut update in updates {
        if let Some(create) = update.object("Create") {
            let (name, hash_key) = index_of(create);
            if table.indexes.insert(name.clone(), hash_key).is_some() {
                return Err(invalid(format!("Attempting to create an index which already exists: {name}")));
            }
        } else if let Some(mut delete) = update.object("Delete") {
            let name = delete.label("IndexName");
            delete.done();
            if table.indexes.remove(&name).is_none() {
                return Err(invalid(format!("Requested resource not found: Index: {name}")));
            }
            let used: Vec<&String> =
                table.key_schema.iter().map(|(key, _)| key).chain(table.indexes.values()).collect();
            table.attributes.retain(|name, _| used.contains(&name));
        }
        update.done();
    }
    Ok(())
}

/// The members that both create and update have.
fn fill(table: &mut Table, fields: &mut Fields) {
    if let Some(mode) = fields.text("BillingMode") {
        table.billing_mode = mode;
    }
    if let Some(mut throughput) = fields.object("ProvisionedThroughput") {
        table.provisioned = Some((
            throughput.number("ReadCapacityUnits").unwrap_or_default(),
            throughput.number("WriteCapacityUnits").unwrap_or_default(),
        ));
        throughput.done();
    } else if table.billing_mode == "PAY_PER_REQUEST" {
        table.provisioned = None;
    }
    if let Some(mut encryption) = fields.object("SSESpecification") {
        table.kms = encryption.flag("Enabled").unwrap_or_default();
        table.kms_key = encryption.text("KMSMasterKeyId");
        let kind = encryption.text("SSEType");
        assert!(matches!(kind.as_deref(), None | Some("KMS")), "world: SSEType is KMS");
        encryption.done();
    }
    table.deletion_protection = fields.flag("DeletionProtectionEnabled").unwrap_or(table.deletion_protection);
    table.table_class = fields.text("TableClass").or_else(|| table.table_class.take());
}

fn check(table: &Table) -> Result<(), Refusal> {
    let name = &table.name;
    if !(3..=255).contains(&name.len()) || !spelled(name, "_.-") {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'tableName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z0-9_.-]+ and have length between 3 and 255"
        )));
    }
    let hashes = table.key_schema.iter().filter(|(_, kind)| kind == "HASH").count();
    if hashes != 1 || table.key_schema.len() > 2 {
        return Err(invalid("Invalid KeySchema: Some index key attribute have no definition"));
    }
    let used: BTreeSet<&String> = table.key_schema.iter().map(|(name, _)| name).chain(table.indexes.values()).collect();
    if used.iter().any(|name| !table.attributes.contains_key(*name)) {
        return Err(invalid(
            "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions",
        ));
    }
    if table.attributes.len() != used.len() {
        return Err(invalid(
            "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
        ));
    }
    match (table.billing_mode.as_str(), table.provisioned) {
        ("PAY_PER_REQUEST", None) => Ok(()),
        ("PROVISIONED", Some((read, write))) if read > 0 && write > 0 => Ok(()),
        ("PAY_PER_REQUEST", Some(_)) => Err(invalid(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        _ => Err(invalid(
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        )),
    }
}

fn describe(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("TableName").unwrap_or_default();
    fields.done();
    let (now, window) = (cx.now, cx.switches.table_window);
    let table = table(cx, &name)?;
    // D1
    if now < table.created + window {
        return Err(not_found(&name));
    }
    Ok(Reply::json(200, json!({ "Table": description(table, now) })))
}

fn check_active(table: &Table, now: Moment) -> Result<(), Refusal> {
    if table.status(now) == "ACTIVE" {
        return Ok(());
    }
    let (name, status) = (&table.name, table.status(now));
    Err(in_use(format!(
        "Attempt to change a resource which is still in use: Table is being {}: {name}",
        match status {
            "CREATING" => "created",
            "DELETING" => "deleted",
            _ => "updated",
        }
    )))
}

fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("TableName").unwrap_or_default();
    let (now, updated_at) = (cx.now, cx.now + cx.switches.table_updating);
    let old = table(cx, &name)?;
    check_active(old, now)?;
    let mut changed = old.clone();
    change_indexes(&mut changed, &mut fields)?;
    fill(&mut changed, &mut fields);
    fields.done();
    check(&changed)?;
    if changed == *old {
        return Err(invalid("The provided parameters would not change the table"));
    }
    changed.updated_at = updated_at;
    *old = changed;
    Ok(Reply::json(200, json!({ "TableDescription": description(old, now) })))
}

/// Not while it is being created or updated, nor under protection (D2).
fn delete(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("TableName").unwrap_or_default();
    fields.done();
    let (now, gone_at) = (cx.now, cx.now + cx.switches.table_deleting);
    let table = table(cx, &name)?;
    check_active(table, now)?;
    if table.deletion_protection {
        return Err(invalid(format!(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first. Table: {name}"
        )));
    }
    table.deleted_at = Some(gone_at);
    let body = json!({ "TableDescription": description(table, now) });
    if gone_at <= now {
        cx.account.region(&cx.place.region).tables.remove(&name);
    }
    Ok(Reply::json(200, body))
}

fn list(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (start, limit) = (fields.text("ExclusiveStartTableName"), limit(fields.number("Limit"), cx.switches));
    fields.done();
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let page = page(&cx.account.region(&cx.place.region).tables, start, limit, |_, table| table.created + lag <= now);
    let names: Vec<&String> = page.items.iter().map(|(name, _)| *name).collect();
    Ok(Reply::json(200, json!({ "TableNames": names, "LastEvaluatedTableName": page.next })))
}

fn update_ttl(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("TableName").unwrap_or_default();
    let mut wish =
        fields.object("TimeToLiveSpecification").ok_or_else(|| invalid("TimeToLiveSpecification is missing"))?;
    let (enabled, attribute) =
        (wish.flag("Enabled").unwrap_or_default(), wish.text("AttributeName").unwrap_or_default());
    wish.done();
    fields.done();
    let now = cx.now;
    let (settling, cooldown) = (cx.switches.ttl_settling, cx.switches.ttl_cooldown);
    let table = table(cx, &name)?;
    check_active(table, now)?;
    if !(1..=255).contains(&attribute.len()) {
        return Err(invalid("TimeToLiveSpecification.AttributeName must have length between 1 and 255"));
    }
    // D8
    if table.ttl.changed_at.is_some_and(|at| now < at + cooldown) {
        return Err(invalid("Time to live has been modified multiple times within a fixed interval"));
    }
    if table.ttl.enabled == enabled {
        return Err(invalid(format!("TimeToLive is already {}", if enabled { "enabled" } else { "disabled" })));
    }
    if !enabled && table.ttl.attribute.as_deref() != Some(&attribute) {
        return Err(invalid(format!(
            "TimeToLive is active on a different AttributeName: current AttributeName is {}",
            table.ttl.attribute.as_deref().unwrap_or_default()
        )));
    }
    let body = json!({ "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": enabled } });
    table.ttl = TimeToLive { attribute: Some(attribute), enabled, changed_at: Some(now), settled_at: now + settling };
    Ok(Reply::json(200, body))
}

fn describe_ttl(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("TableName").unwrap_or_default();
    fields.done();
    let now = cx.now;
    let table = table(cx, &name)?;
    let status = table.ttl.status(now);
    let mut view = json!({ "TimeToLiveStatus": status });
    if status != "DISABLED" {
        view["AttributeName"] = json!(table.ttl.attribute);
    }
    Ok(Reply::json(200, json!({ "TimeToLiveDescription": view })))
}

fn tag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.text("ResourceArn").unwrap_or_default();
    let new = tags_of(fields.tag_list("Tags").unwrap_or_default());
    fields.done();
    let (now, shown_at) = (cx.now, tags_shown_at(cx));
    let table = table_by_arn(cx, &arn)?;
    check_active(table, now)?;
    let mut all = table.tags.clone();
    all.extend(new);
    if let Some(fault) = rules::tags_fault(&all) {
        return Err(invalid(fault));
    }
    write_tags(table, all, shown_at);
    Ok(Reply::empty(200))
}

fn untag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.text("ResourceArn").unwrap_or_default();
    let keys = fields.texts("TagKeys").unwrap_or_default();
    fields.done();
    let (now, shown_at) = (cx.now, tags_shown_at(cx));
    let table = table_by_arn(cx, &arn)?;
    check_active(table, now)?;
    let mut all = table.tags.clone();
    all.retain(|key, _| !keys.contains(key));
    write_tags(table, all, shown_at);
    Ok(Reply::empty(200))
}

fn list_tags(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (arn, token) = (fields.text("ResourceArn").unwrap_or_default(), fields.text("NextToken"));
    fields.done();
    let (now, limit) = (cx.now, limit(None, cx.switches));
    let roll = if cx.switches.table_tags_lag.is_zero() { 0 } else { cx.ids.u8(0..4) };
    let table = table_by_arn(cx, &arn)?;
    // D9; a list that goes on is of the set that it began with.
    let tags = match roll {
        2 if now < table.tags_shown_at && token.is_none() => &table.old_tags,
        3 if now < table.tags_shown_at && token.is_none() => {
            if table.status(now) == "CREATING" {
                return Err(arn_not_found(&arn));
            }
            &Tags::new()
        }
        _ => &table.tags,
    };
    let page = page(tags, token, limit, |_, _| true);
    let tags: Vec<Value> = page.items.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Ok(Reply::json(200, json!({ "Tags": tags, "NextToken": page.next })))
}

fn description(table: &Table, now: Moment) -> Value {
    let schema: Vec<Value> =
        table.key_schema.iter().map(|(name, kind)| json!({ "AttributeName": name, "KeyType": kind })).collect();
    let attributes: Vec<Value> =
        table.attributes.iter().map(|(name, kind)| json!({ "AttributeName": name, "AttributeType": kind })).collect();
    let (read, write) = table.provisioned.unwrap_or_default();
    let mut view = json!({
        "AttributeDefinitions": attributes,
        "CreationDateTime": clock::unix_seconds(table.created),
        "DeletionProtectionEnabled": table.deletion_protection,
        "ItemCount": 0,
        "KeySchema": schema,
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0, "ReadCapacityUnits": read, "WriteCapacityUnits": write,
        },
        "TableArn": table.arn,
        "TableId": table.id,
        "TableName": table.name,
        "TableSizeBytes": 0,
        "TableStatus": table.status(now),
    });
    if table.billing_mode == "PAY_PER_REQUEST" {
        view["BillingModeSummary"] = json!({ "BillingMode": "PAY_PER_REQUEST" });
    }
    if table.kms {
        let key = table.kms_key.as_deref().unwrap_or("alias/aws/dynamodb");
        view["SSEDescription"] = json!({ "Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key });
    }
    if !table.indexes.is_empty() {
        let index_status = if table.status(now) == "ACTIVE" { "ACTIVE" } else { "CREATING" };
        let index = |(name, hash_key): (&String, &String)| {
            json!({
                "IndexName": name,
                "IndexStatus": index_status,
                "KeySchema": [{ "AttributeName": hash_key, "KeyType": "HASH" }],
                "Projection": { "ProjectionType": "ALL" },
            })
        };
        view["GlobalSecondaryIndexes"] = table.indexes.iter().map(index).collect();
    }
    if let Some(class) = &table.table_class {
        view["TableClassSummary"] = json!({ "TableClass": class });
    }
    view
}

/// Name and type of the attributes of a table with a single key, as a test makes them.
pub(crate) fn single_key(name: &str) -> (Vec<(String, String)>, BTreeMap<String, String>) {
    (vec![(name.to_owned(), "HASH".to_owned())], BTreeMap::from([(name.to_owned(), "S".to_owned())]))
}
