//! The rules that single settings obey, each with the error that names the broken one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use icu_properties::props::{EnumeratedProperty, GeneralCategory, GeneralCategoryGroup};

use super::{DELIVERY_RATE, MESSAGE_THROTTLE, Name, Throttle};
use crate::app::{App, Delivery};
use crate::error::{Error, Result};

/// What CloudWatch Logs accepts for a retention, in days.
pub(super) const RETENTION_DAYS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// API Gateway waits 29 s (G7): a function that may take as long is cut off unheard, one that ends before can still say so.
const LONGEST_FUNCTION_TIMEOUT: i32 = 25;

/// From and to, both included: MB of a function.
pub(super) const MEMORY: (i32, i32) = (128, 10_240);
/// Seconds.
pub(super) const FUNCTION_TIMEOUT: (i32, i32) = (1, LONGEST_FUNCTION_TIMEOUT);
/// Runs at once. None at all would take no message.
pub(super) const CONCURRENCY: (i32, i32) = (1, 100_000);
/// KB.
pub(super) const MESSAGE_SIZES: (i32, i32) = (1, 128);
/// A second, or at once.
pub(super) const RATES: (i32, i32) = (1, 1_000_000);
pub(super) const DELIVERY_RATES: (i32, i32) = (10, 1_000_000);
/// Characters.
pub(super) const API_NAME: (usize, usize) = (1, 128);
pub(super) const DESCRIPTION: (usize, usize) = (0, 1024);

pub(super) const ARCHITECTURES: &[&str] = &["arm64", "x86_64"];
pub(super) const COLORS: &[&str] = &["auto", "always", "never"];
pub(super) const DELIVERIES: &[&str] = &["direct", "queue"];
pub(super) const OUTPUTS: &[&str] = &["text", "json"];

pub(super) fn stage(text: Option<String>) -> Result<String> {
    let Some(text) = text else { return Ok("prod".to_owned()) };
    let fits =
        (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if fits {
        return Ok(text);
    }
    Err(Error::usage(format!("`{text}` is not a valid stage: it takes 1 to 128 of a-z, A-Z, 0-9, `-` and `_`")))
}

/// What the API is called where no name of its own is given is the name of the deployment.
pub(super) fn api_name(text: Option<String>, name: &Name) -> Result<String> {
    text.map_or_else(|| Ok(name.to_string()), |text| text_of("name of the API", text, API_NAME))
}

pub(super) fn description(text: Option<String>) -> Result<String> {
    text_of("description", text.unwrap_or_default(), DESCRIPTION)
}

/// One line of so many characters.
fn text_of(what: &str, text: String, (from, to): (usize, usize)) -> Result<String> {
    let rule = match text.chars().count() {
        _ if text.contains(char::is_control) => "it is written in one line".to_owned(),
        count if (from..=to).contains(&count) => return Ok(text),
        _ if from == 0 => format!("it takes at most {to} characters"),
        _ => format!("it takes {from} to {to} characters"),
    };
    let shown: String = text.chars().take(40).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    Err(Error::usage(format!("`{shown}{dots}` is not a valid {what}: {rule}")))
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`: a letter with its marks written apart is no letter.
fn fits_tags(c: char) -> bool {
    const GROUPS: GeneralCategoryGroup =
        GeneralCategoryGroup::Letter.union(GeneralCategoryGroup::Separator).union(GeneralCategoryGroup::Number);
    GROUPS.contains(GeneralCategory::for_char(c)) || "_.:/=+-@".contains(c)
}

/// Ours may not be overwritten, and all must fit the narrowest of the services: API Gateway, which takes no empty value, and
/// IAM (I6, T3).
pub(super) fn tags(flags: &[String], file: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut tags = file;
    for pair in flags {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Error::usage(format!("`{pair}` is not a valid tag: it is not of the form `key=value`")))?;
        tags.insert(key.to_owned(), value.to_owned());
    }
    let mut folded = BTreeSet::new();
    for (key, value) in &tags {
        let lower = key.to_lowercase();
        let rule = if key.is_empty() || key.chars().count() > 128 {
            "a key has 1 to 128 characters"
        } else if value.is_empty() || value.chars().count() > 256 {
            "a value has 1 to 256 characters"
        } else if !key.chars().chain(value.chars()).all(fits_tags) {
            "keys and values take letters, digits, spaces and `_ . : / = + - @`"
        } else if lower.starts_with("aws:") {
            "keys that start with `aws:` are reserved by AWS"
        } else if lower.starts_with("chatctl:") {
            "keys that start with `chatctl:` are ours"
        } else if !folded.insert(lower) {
            "IAM takes keys that differ only in case for the same"
        } else {
            continue;
        };
        return Err(Error::usage(format!("`{key}={value}` is not a valid tag: {rule}")));
    }
    // 50 a resource, of which three are ours.
    if tags.len() > 47 {
        return Err(Error::usage(format!("{} tags are too many: AWS allows 50, and 3 are ours", tags.len())));
    }
    Ok(tags)
}

/// # Errors
/// A usage error that names `what` and shows the form.
pub fn duration(what: &str, text: &str) -> Result<Duration> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > Duration::ZERO && duration <= Duration::from_secs(3650 * 86_400) => Ok(duration),
        _ => Err(Error::usage(format!(
            "`{text}` is not a valid {what}: it takes a duration such as `90s`, `10m` or `72h`"
        ))),
    }
}

pub(super) fn retention(days: Option<i32>) -> Result<i32> {
    let days = days.unwrap_or(14);
    if RETENTION_DAYS.contains(&days) {
        return Ok(days);
    }
    let allowed: Vec<String> = RETENTION_DAYS.iter().map(ToString::to_string).collect();
    Err(Error::usage(format!("{days} is not a valid log retention: CloudWatch Logs takes {} days", allowed.join(", "))))
}

pub(super) fn role_path(text: Option<String>) -> Result<String> {
    let Some(path) = text else { return Ok("/chatctl/".to_owned()) };
    let fits = path.len() <= 512
        && path.starts_with('/')
        && path.ends_with('/')
        // IAM takes more, Lambda does not.
        && path.chars().all(|c| c.is_ascii_alphanumeric() || "/_+=,.@-".contains(c));
    if fits {
        return Ok(path);
    }
    Err(Error::usage(format!(
        "`{path}` is not a valid role path: it begins and ends with `/`, such as `/chatctl/`, and takes a-z, A-Z, 0-9 and `_ + = , . @ -` between"
    )))
}

pub(super) fn role_arns(
    app: &App,
    flags: &[String],
    file: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let mut arns = file;
    for pair in flags {
        let (function, arn) = pair.split_once('=').ok_or_else(|| {
            Error::usage(format!("`{pair}` is not a valid role: it is not of the form `function=ARN`"))
        })?;
        arns.insert(function.to_owned(), arn.to_owned());
    }
    let names: Vec<&str> = app.functions().iter().map(|function| function.name.as_str()).collect();
    for (function, arn) in &arns {
        one_of("function", function, &names)?;
        checked_arn("role", arn.clone(), "iam", "role/")?;
    }
    Ok(arns)
}

pub(super) fn throttle(rate: Option<i32>, burst: Option<i32>) -> Result<Option<Throttle>> {
    match (rate, burst) {
        (None, None) => Ok(None),
        (Some(rate), Some(burst)) => Ok(Some(Throttle {
            rate: in_range("throttle rate", rate, RATES, "requests a second")?,
            burst: in_range("throttle burst", burst, RATES, "requests")?,
        })),
        // A block with one number stores zero for the other, and zero refuses every connection (G12).
        _ => Err(Error::usage("throttling needs both `throttle-rate` and `throttle-burst`, or neither")),
    }
}

/// Where the whole stage has limits of the user's own, those hold for messages too, unless they have some of their own.
pub(super) fn message_throttle(
    rate: Option<i32>,
    burst: Option<i32>,
    stage_is_throttled: bool,
) -> Result<Option<Throttle>> {
    if stage_is_throttled && rate.is_none() && burst.is_none() {
        return Ok(None);
    }
    Ok(Some(Throttle {
        rate: in_range("message rate", rate.unwrap_or(MESSAGE_THROTTLE.rate), RATES, "messages a second")?,
        burst: in_range("message burst", burst.unwrap_or(MESSAGE_THROTTLE.burst), RATES, "messages")?,
    }))
}

/// Whatever Node.js Lambda has; the handlers need nothing that only some versions bring (L10).
pub(super) fn runtime(text: Option<String>) -> Result<String> {
    let runtime = text.unwrap_or_else(|| "nodejs24.x".to_owned());
    let fits = runtime
        .strip_prefix("nodejs")
        .and_then(|rest| rest.strip_suffix(".x"))
        .is_some_and(|version| !version.is_empty() && version.chars().all(|c| c.is_ascii_digit()));
    if fits {
        return Ok(runtime);
    }
    Err(Error::usage(format!("`{runtime}` is not a valid runtime: the handlers need Node.js, such as `nodejs24.x`")))
}

pub(super) fn region(text: String) -> Result<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let fits = parts.len() >= 3
        && text.len() <= 16
        && parts[..parts.len() - 1].iter().all(|p| !p.is_empty() && p.chars().all(|c| c.is_ascii_lowercase()))
        && parts[parts.len() - 1].parse::<u8>().is_ok();
    if fits {
        return Ok(text);
    }
    Err(Error::usage(format!("`{text}` is not a valid region: it takes one such as `eu-central-1`")))
}

pub(super) fn checked_arn(what: &str, arn: String, service: &str, resource: &str) -> Result<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let account = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    let fits = parts.len() == 6
        && parts[0] == "arn"
        && parts[1].starts_with("aws")
        && parts[2] == service
        && (account(parts[4]) || (service == "iam" && parts[4] == "aws"))
        && parts[5].strip_prefix(resource).is_some_and(|rest| !rest.is_empty())
        // One thing, which goes into policies as it is.
        && !arn.contains(|c: char| c.is_whitespace() || "*?$".contains(c));
    if fits {
        return Ok(arn);
    }
    Err(Error::usage(format!(
        "`{arn}` is not a valid {what}: it takes an ARN such as `arn:aws:{service}:{}:123456789012:{resource}…`",
        if service == "iam" { "" } else { "eu-central-1" }
    )))
}

/// SNS takes a message for a FIFO topic only with the name of its group, which an alarm does not give (W4).
pub(super) fn alarm_topic(arn: String) -> Result<String> {
    let arn = checked_arn("alarm topic", arn, "sns", "")?;
    let name = arn.splitn(6, ':').last().unwrap_or_default();
    let rule = if name.ends_with(".fifo") {
        "it is a FIFO topic, which takes nothing from an alarm"
    } else if name.len() > 256 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        "it ends in the name of a topic, which has at most 256 letters, digits, `-` and `_`"
    } else {
        return Ok(arn);
    };
    Err(Error::usage(format!("`{arn}` is not a valid alarm topic: {rule}")))
}

pub(super) fn one_of(what: &str, text: &str, allowed: &[&str]) -> Result<String> {
    if allowed.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Error::usage(format!("`{text}` is not a valid {what}: it takes {}", allowed.join(" or "))))
}

pub(super) fn delivery(text: Option<String>, rate: Option<i32>) -> Result<Delivery> {
    let text = one_of("delivery", text.as_deref().unwrap_or("direct"), DELIVERIES)?;
    let rate = rate.map(|rate| in_range("delivery rate", rate, DELIVERY_RATES, "posts a second")).transpose()?;
    match (text.as_str(), rate) {
        ("queue", rate) => Ok(Delivery::Queue { rate: rate.unwrap_or(DELIVERY_RATE) }),
        (_, None) => Ok(Delivery::Direct),
        (_, Some(_)) => Err(Error::usage("`delivery-rate` works only with `--delivery queue`")
            .hint("set `--delivery queue` too, or leave the rate out")),
    }
}

pub(super) fn in_range(what: &str, value: i32, (from, to): (i32, i32), unit: &str) -> Result<i32> {
    if (from..=to).contains(&value) {
        return Ok(value);
    }
    Err(Error::usage(format!("{value} is not a valid {what}: it takes {from} to {to} {unit}")))
}
