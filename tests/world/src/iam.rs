//! IAM: roles and their policies, which are global in an account.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::clock;
use crate::context::{Context, limit, new_id, page};
use crate::fields::{Fields, tags_of};
use crate::operation::{Operations, Request, Wire, query};
use crate::place::Place;
use crate::policy::{self, Kind};
use crate::reply::{Answer, Refusal, Reply, element};
use crate::rules::{Arn, spelled, tag_fault};
use crate::service::{Model, Protocol, Read, Refusals};
use crate::state::{Account, InlinePolicy, Role, Tags};

/// Inline policies of a role together, white space apart (I4).
const INLINE_LIMIT: usize = 10_240;

const OPERATIONS: Operations = &[
    ("CreateRole", true),
    ("GetRole", false),
    ("DeleteRole", true),
    ("TagRole", true),
    ("UntagRole", true),
    ("ListRoleTags", false),
    ("ListRoles", false),
    ("UpdateAssumeRolePolicy", true),
    ("UpdateRole", true),
    ("PutRolePermissionsBoundary", true),
    ("DeleteRolePermissionsBoundary", true),
    ("PutRolePolicy", true),
    ("GetRolePolicy", false),
    ("DeleteRolePolicy", true),
    ("ListRolePolicies", false),
    ("ListAttachedRolePolicies", false),
    ("AttachRolePolicy", true),
    ("DetachRolePolicy", true),
    ("ListInstanceProfilesForRole", false),
];

pub(crate) struct Iam;

impl Model for Iam {
    fn name(&self) -> &'static str {
        "iam"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Query("https://iam.amazonaws.com/doc/2010-05-08/")
    }

    fn read(&self, wire: &Wire<'_>) -> Read {
        query(OPERATIONS, wire)
    }

    fn handle(&self, cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
        handle(cx, operation, fields)
    }

    fn named_by(&self) -> &'static [&'static str] {
        &["RoleName"]
    }

    fn refusals(&self) -> Refusals {
        Refusals::of_query("ServiceFailure")
    }

    fn arn(&self, request: &Request, role: Option<&Role>) -> String {
        let (place, name) = (&request.place, request.resource.as_str());
        if request.operation.name == "CreateRole" {
            let path = request.fields.peek("Path").unwrap_or("/");
            return place.global_arn("iam", &format!("role{path}{name}"));
        }
        // One that is not there has no path yet (I11).
        role.map_or_else(|| place.global_arn("iam", &format!("role/{name}")), |role| role.arn.clone())
    }

    fn tagging(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("CreateRole", "Tags", "iam:TagRole")]
    }
}

/// Reads may see a role as it was before the last writes, or not at all, or still (I1).
fn handle(cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
    let most = cx.switches.iam_read_lag;
    let Some(key) = fields.peek("RoleName").map(str::to_lowercase).filter(|_| !most.is_zero()) else {
        return current(cx, operation, fields);
    };
    let now = cx.now;
    cx.account.older_roles.retain(|(until, ..)| now < *until);
    let role = cx.account.roles.get(&key).cloned();
    if !["Get", "List"].iter().any(|verb| operation.starts_with(verb)) {
        let answer = current(cx, operation, fields);
        if answer.is_ok() {
            cx.account.older_roles.push((now + most.mul_f64(cx.ids.f64()), key, role));
        }
        return answer;
    }
    let older: Vec<_> = cx.account.older_roles.iter().filter(|(_, of, _)| *of == key).collect();
    // Two of three reads are right.
    let roll = cx.ids.usize(0..=older.len() * 3);
    let Some((.., shown)) = older.get(roll) else { return current(cx, operation, fields) };
    let shown = shown.clone();
    put(cx.account, &key, shown);
    let answer = current(cx, operation, fields);
    put(cx.account, &key, role);
    answer
}

fn put(account: &mut Account, key: &str, role: Option<Role>) {
    match role {
        Some(role) => drop(account.roles.insert(key.to_owned(), role)),
        None => drop(account.roles.remove(key)),
    }
}

fn current(cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
    match operation {
        "CreateRole" => create_role(cx, fields),
        "GetRole" => get_role(cx, fields),
        "DeleteRole" => delete_role(cx, fields),
        "UpdateRole" => update_role(cx, fields),
        "UpdateAssumeRolePolicy" => update_trust(cx, fields),
        "TagRole" => tag_role(cx, fields),
        "UntagRole" => untag_role(cx, fields),
        "ListRoleTags" => list_role_tags(cx, fields),
        "ListRoles" => list_roles(cx, fields),
        "PutRolePermissionsBoundary" => put_boundary(cx, fields),
        "DeleteRolePermissionsBoundary" => delete_boundary(cx, fields),
        "PutRolePolicy" => put_policy(cx, fields),
        "GetRolePolicy" => get_policy(cx, fields),
        "DeleteRolePolicy" => delete_policy(cx, fields),
        "ListRolePolicies" => list_policies(cx, fields),
        "AttachRolePolicy" => attach_policy(cx, fields),
        "DetachRolePolicy" => detach_policy(cx, fields),
        "ListAttachedRolePolicies" => list_attached(cx, fields),
        "ListInstanceProfilesForRole" => list_instance_profiles(cx, fields),
        other => unreachable!("{other} is not routed here"),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationError", message)
}

fn no_such_role(name: &str) -> Refusal {
    Refusal::new(404, "NoSuchEntity", format!("The role with name {name} cannot be found."))
}

fn malformed(message: String) -> Refusal {
    Refusal::new(400, "MalformedPolicyDocument", message)
}

/// The role, unless it is too young to be seen (I1).
fn role<'a>(cx: &'a mut Context<'_>, name: &str) -> Result<&'a mut Role, Refusal> {
    let (now, window) = (cx.now, cx.switches.iam_role_window);
    cx.account.role(name).filter(|role| role.created + window <= now).ok_or_else(|| no_such_role(name))
}

fn create_role(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let path = fields.text("Path").unwrap_or_else(|| "/".to_owned());
    let trust = fields.text("AssumeRolePolicyDocument").unwrap_or_default();
    let description = fields.text("Description");
    let max_session_seconds = fields.number("MaxSessionDuration").unwrap_or(3_600);
    let boundary = fields.text("PermissionsBoundary");
    let tags = fields.tag_list("Tags").unwrap_or_default();
    fields.done();
    check_name(&name)?;
    if !path.starts_with('/') || !path.ends_with('/') || path.len() > 512 || path.contains(' ') {
        return Err(invalid(format!("The specified value for path is invalid: {path}")));
    }
    let tags = check_tags(&Tags::new(), tags)?;
    policy::read(&trust, Kind::Trust, cx.place.partition()).map_err(malformed)?;
    if let Some(arn) = &boundary {
        check_managed(cx.account, cx.place, "Scope ARN:", arn)?;
    }
    // I2
    if cx.account.role(&name).is_some() {
        return Err(Refusal::new(409, "EntityAlreadyExists", format!("Role with name {name} already exists.")));
    }
    if cx.account.roles.len() >= cx.switches.role_quota {
        let quota = cx.switches.role_quota;
        return Err(Refusal::new(409, "LimitExceeded", format!("Cannot exceed quota for RolesPerAccount: {quota}")));
    }
    let assumable_at =
        if policy::trusts(&trust, "lambda.amazonaws.com") { cx.now + cx.switches.iam_propagation } else { cx.now };
    let role = Role {
        arn: cx.place.global_arn("iam", &format!("role{path}{name}")),
        id: format!("AROA{}", new_id(cx.ids, 17).to_uppercase()),
        name,
        path,
        description,
        max_session_seconds,
        trust,
        boundary,
        tags,
        created: cx.now,
        assumable_at,
        ..Role::default()
    };
    let text = format!("<Role>{}</Role>", view(&role, true));
    cx.account.roles.insert(role.name.to_lowercase(), role);
    Ok(Reply::xml(text))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > 64 || !spelled(name, "_+=,.@-") {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'roleName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [\\w+=,.@-]{{1,64}}"
        )));
    }
    Ok(())
}

/// `old` with the tags sent, which must be distinct in whatever case (I6, T3).
fn check_tags(old: &Tags, sent: Vec<(String, String)>) -> Result<Tags, Refusal> {
    if let Some(fault) = sent.iter().find_map(|(key, value)| tag_fault(key, value)) {
        return Err(invalid(format!("1 validation error detected: {fault}")));
    }
    let distinct: BTreeSet<String> = sent.iter().map(|(key, _)| key.to_lowercase()).collect();
    if distinct.len() < sent.len() {
        return Err(Refusal::new(
            400,
            "InvalidInput",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ));
    }
    let mut tags: Tags = old
        .iter()
        .filter(|(key, _)| !distinct.contains(&key.to_lowercase()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    tags.extend(tags_of(sent));
    if tags.len() > 50 {
        return Err(Refusal::new(409, "LimitExceeded", "Cannot exceed quota for TagsPerRole: 50"));
    }
    Ok(tags)
}

/// A managed policy must exist before anything can point to it.
fn check_managed(account: &Account, place: &Place, what: &str, arn: &str) -> Result<(), Refusal> {
    let fits = Arn::read(arn).is_some_and(|parts| {
        parts.service == "iam" && parts.partition == place.partition() && parts.rest.starts_with("policy/")
    });
    if !fits {
        return Err(invalid(format!("ARN {arn} is not valid.")));
    }
    let of_aws = arn.starts_with(&format!("arn:{}:iam::aws:policy/", place.partition()));
    if of_aws || account.managed_policies.contains(arn) {
        return Ok(());
    }
    Err(Refusal::new(404, "NoSuchEntity", format!("{what} {arn} does not exist or is not attachable.")))
}

fn get_role(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    fields.done();
    let role = role(cx, &name)?;
    Ok(Reply::xml(format!("<Role>{}</Role>", view(role, true))))
}

/// Only what has no policy and no instance profile left (I3).
fn delete_role(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    fields.done();
    let lingers = cx.switches.iam_delete_linger;
    let now = cx.now;
    let role = role(cx, &name)?;
    let conflict = |message: &str| Err(Refusal::new(409, "DeleteConflict", message));
    let lingering = role.stripped_at.is_some_and(|at| now < at + lingers);
    if !role.attached.is_empty() {
        return conflict("Cannot delete entity, must detach all policies first.");
    }
    if !role.instance_profiles.is_empty() {
        return conflict("Cannot delete entity, must remove roles from instance profile first.");
    }
    if !role.inline.is_empty() || lingering {
        return conflict("Cannot delete entity, must delete policies first.");
    }
    cx.account.roles.remove(&name.to_lowercase());
    Ok(Reply::xml(String::new()))
}

fn update_role(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let (description, seconds) = (fields.text("Description"), fields.number("MaxSessionDuration"));
    fields.done();
    let role = role(cx, &name)?;
    // Left out means emptied here.
    role.description = description;
    role.max_session_seconds = seconds.unwrap_or(3_600);
    Ok(Reply::xml(String::new()))
}

fn update_trust(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let document = fields.text("PolicyDocument").unwrap_or_default();
    fields.done();
    policy::read(&document, Kind::Trust, cx.place.partition()).map_err(malformed)?;
    let spread_at = cx.now + cx.switches.iam_propagation;
    let role = role(cx, &name)?;
    let trusts = |document: &str| policy::trusts(document, "lambda.amazonaws.com");
    if trusts(&document) && !trusts(&role.trust) {
        role.assumable_at = spread_at;
    }
    role.trust = document;
    Ok(Reply::xml(String::new()))
}

fn tag_role(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let sent = fields.tag_list("Tags").unwrap_or_default();
    fields.done();
    let role = role(cx, &name)?;
    role.tags = check_tags(&role.tags, sent)?;
    Ok(Reply::xml(String::new()))
}

fn untag_role(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let keys = fields.texts("TagKeys").unwrap_or_default();
    fields.done();
    let role = role(cx, &name)?;
    role.tags.retain(|key, _| !keys.iter().any(|gone| gone.eq_ignore_ascii_case(key)));
    Ok(Reply::xml(String::new()))
}

/// The paging members of a list request.
struct Listing {
    limit: usize,
    marker: Option<String>,
}

impl Listing {
    fn take(cx: &Context<'_>, fields: &mut Fields) -> Self {
        Self { limit: limit(fields.number("MaxItems"), cx.switches), marker: fields.text("Marker") }
    }
}

/// `<name><member>…</member></name>` and what says whether there is more.
fn listing(name: &str, members: impl Iterator<Item = String>, next: Option<String>) -> Reply {
    let mut text = format!("<{name}>");
    for member in members {
        text += "<member>";
        text += &member;
        text += "</member>";
    }
    text += &format!("</{name}>");
    element(&mut text, "IsTruncated", if next.is_some() { "true" } else { "false" });
    if let Some(next) = next {
        element(&mut text, "Marker", &next);
    }
    Reply::xml(text)
}

fn list_role_tags(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let Listing { limit, marker } = Listing::take(cx, &mut fields);
    fields.done();
    let role = role(cx, &name)?;
    let page = page(&role.tags, marker, limit, |_, _| true);
    Ok(listing("Tags", page.items.iter().map(|(key, value)| tag(key, value)), page.next))
}

/// Leaves out tags and boundary (I5).
fn list_roles(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let prefix = fields.text("PathPrefix").unwrap_or_else(|| "/".to_owned());
    let Listing { limit, marker } = Listing::take(cx, &mut fields);
    fields.done();
    let page = page(&cx.account.roles, marker, limit, |_, role| {
        role.path.starts_with(&prefix) && role.created + cx.switches.list_lag <= cx.now
    });
    Ok(listing("Roles", page.items.iter().map(|(_, role)| view(role, false)), page.next))
}

fn put_boundary(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let arn = fields.text("PermissionsBoundary").unwrap_or_default();
    fields.done();
    check_managed(cx.account, cx.place, "Scope ARN:", &arn)?;
    role(cx, &name)?.boundary = Some(arn);
    Ok(Reply::xml(String::new()))
}

fn delete_boundary(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    fields.done();
    role(cx, &name)?.boundary = None;
    Ok(Reply::xml(String::new()))
}

fn put_policy(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let policy_name = fields.text("PolicyName").unwrap_or_default();
    let document = fields.text("PolicyDocument").unwrap_or_default();
    fields.done();
    if policy_name.is_empty() || policy_name.len() > 128 || !spelled(&policy_name, "_+=,.@-") {
        return Err(invalid(format!("The specified value for policyName is invalid: {policy_name}")));
    }
    policy::read(&document, Kind::Identity, cx.place.partition()).map_err(malformed)?;
    let written = cx.now;
    let role = role(cx, &name)?;
    let size = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
    let others: usize =
        role.inline.iter().filter(|(key, _)| **key != policy_name).map(|(_, policy)| size(&policy.document)).sum();
    if others + size(&document) > INLINE_LIMIT {
        let message = format!("Maximum policy size of {INLINE_LIMIT} bytes exceeded for role {name}");
        return Err(Refusal::new(409, "LimitExceeded", message));
    }
    role.inline.insert(policy_name, InlinePolicy { document, written });
    Ok(Reply::xml(String::new()))
}

fn no_such_policy(policy_name: &str) -> Refusal {
    Refusal::new(404, "NoSuchEntity", format!("The role policy with name {policy_name} cannot be found."))
}

fn get_policy(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let policy_name = fields.text("PolicyName").unwrap_or_default();
    fields.done();
    let (now, window) = (cx.now, cx.switches.iam_policy_window);
    let role = role(cx, &name)?;
    let policy = role
        .inline
        .get(&policy_name)
        .filter(|policy| policy.written + window <= now)
        .ok_or_else(|| no_such_policy(&policy_name))?;
    let mut text = String::new();
    element(&mut text, "RoleName", &role.name);
    element(&mut text, "PolicyName", &policy_name);
    element(&mut text, "PolicyDocument", &encoded(&policy.document));
    Ok(Reply::xml(text))
}

fn delete_policy(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let policy_name = fields.text("PolicyName").unwrap_or_default();
    fields.done();
    let now = cx.now;
    let role = role(cx, &name)?;
    role.inline.remove(&policy_name).ok_or_else(|| no_such_policy(&policy_name))?;
    role.stripped_at = Some(now);
    Ok(Reply::xml(String::new()))
}

fn list_policies(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let Listing { limit, marker } = Listing::take(cx, &mut fields);
    fields.done();
    let (now, window) = (cx.now, cx.switches.iam_policy_window);
    let role = role(cx, &name)?;
    let page = page(&role.inline, marker, limit, |_, policy| policy.written + window <= now);
    Ok(listing("PolicyNames", page.items.iter().map(|(name, _)| (*name).clone()), page.next))
}

fn attach_policy(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let arn = fields.text("PolicyArn").unwrap_or_default();
    fields.done();
    check_managed(cx.account, cx.place, "Policy", &arn)?;
    role(cx, &name)?.attached.insert(arn);
    Ok(Reply::xml(String::new()))
}

fn detach_policy(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let arn = fields.text("PolicyArn").unwrap_or_default();
    fields.done();
    let now = cx.now;
    let role = role(cx, &name)?;
    if !role.attached.remove(&arn) {
        return Err(Refusal::new(404, "NoSuchEntity", format!("Policy {arn} was not found.")));
    }
    role.stripped_at = Some(now);
    Ok(Reply::xml(String::new()))
}

fn list_attached(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let Listing { limit, marker } = Listing::take(cx, &mut fields);
    fields.done();
    let role = role(cx, &name)?;
    let (members, next) = set_page(&role.attached, marker.as_deref(), limit);
    let members = members.into_iter().map(|arn| {
        let mut text = String::new();
        element(&mut text, "PolicyName", arn.rsplit('/').next().unwrap_or(arn));
        element(&mut text, "PolicyArn", arn);
        text
    });
    Ok(listing("AttachedPolicies", members, next))
}

fn list_instance_profiles(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("RoleName").unwrap_or_default();
    let Listing { limit, marker } = Listing::take(cx, &mut fields);
    fields.done();
    let (place, created) = (cx.place, clock::iso(cx.now));
    let role = role(cx, &name)?;
    let (members, next) = set_page(&role.instance_profiles, marker.as_deref(), limit);
    let members = members.into_iter().map(|profile| {
        let mut text = String::new();
        element(&mut text, "InstanceProfileName", profile);
        element(&mut text, "InstanceProfileId", "AIPAEXAMPLEEXAMPLEEXA");
        element(&mut text, "Arn", &place.global_arn("iam", &format!("instance-profile/{profile}")));
        element(&mut text, "Path", "/");
        element(&mut text, "CreateDate", &created);
        text + "<Roles></Roles>"
    });
    Ok(listing("InstanceProfiles", members, next))
}

fn set_page<'a>(all: &'a BTreeSet<String>, marker: Option<&str>, limit: usize) -> (Vec<&'a String>, Option<String>) {
    let mut rest = all.iter().skip_while(|item| marker.is_some_and(|marker| item.as_str() <= marker));
    let members: Vec<&String> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(members.last()).map(|item| (*item).clone());
    (members, next)
}

/// RFC 3986, as IAM encodes the documents that it gives back.
fn encoded(document: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(document, KEPT).to_string()
}

fn tag(key: &str, value: &str) -> String {
    let mut text = String::new();
    element(&mut text, "Key", key);
    element(&mut text, "Value", value);
    text
}

fn view(role: &Role, full: bool) -> String {
    let mut text = String::with_capacity(1_024);
    element(&mut text, "Path", &role.path);
    element(&mut text, "RoleName", &role.name);
    element(&mut text, "RoleId", &role.id);
    element(&mut text, "Arn", &role.arn);
    element(&mut text, "CreateDate", &clock::iso(role.created));
    element(&mut text, "AssumeRolePolicyDocument", &encoded(&role.trust));
    if let Some(description) = &role.description {
        element(&mut text, "Description", description);
    }
    element(&mut text, "MaxSessionDuration", &role.max_session_seconds.to_string());
    if !full {
        return text;
    }
    if let Some(boundary) = &role.boundary {
        text += "<PermissionsBoundary>";
        element(&mut text, "PermissionsBoundaryType", "Policy");
        element(&mut text, "PermissionsBoundaryArn", boundary);
        text += "</PermissionsBoundary>";
    }
    if !role.tags.is_empty() {
        text += "<Tags>";
        for (key, value) in &role.tags {
            text += "<member>";
            text += &tag(key, value);
            text += "</member>";
        }
        text += "</Tags>";
    }
    text
}
