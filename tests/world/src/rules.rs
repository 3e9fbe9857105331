//! Rules of spelling that several services share.

use crate::place::Place;
use crate::state::{Account, Role, Tags};

/// `arn:partition:service:region:account:rest`, taken apart.
pub(crate) struct Arn<'a> {
    pub partition: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    pub rest: &'a str,
}

impl<'a> Arn<'a> {
    pub fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        if parts.next() != Some("arn") {
            return None;
        }
        let arn = Self {
            partition: parts.next()?,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            rest: parts.next()?,
        };
        let account_fits =
            arn.account.is_empty() || arn.account == "aws" || (arn.account.len() == 12 && digits(arn.account));
        (arn.partition.starts_with("aws") && !arn.service.is_empty() && account_fits).then_some(arn)
    }

    /// Whether it lies in this account and region.
    pub fn is_in(&self, place: &Place) -> bool {
        self.partition == place.partition() && self.region == place.region && self.account == place.account
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether all of `text` is ASCII letters, digits and the `extra` characters.
pub(crate) fn spelled(text: &str, extra: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

/// The first rule that the tags of a resource break (T3, I6).
pub(crate) fn tags_fault(tags: &Tags) -> Option<String> {
    if tags.len() > 50 {
        return Some("The maximum number of tags, 50, is exceeded".to_owned());
    }
    tags.iter().find_map(|(key, value)| tag_fault(key, value))
}

pub(crate) fn tag_fault(key: &str, value: &str) -> Option<String> {
    let allowed = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c));
    if key.is_empty() || key.chars().count() > 128 {
        Some(format!("Tag key '{key}' must have length between 1 and 128"))
    } else if value.chars().count() > 256 {
        Some(format!("Value of tag '{key}' must have length less than or equal to 256"))
    } else if key.to_lowercase().starts_with("aws:") {
        Some(format!("Tag key '{key}': the prefix aws: is reserved"))
    } else if !allowed(key) || !allowed(value) {
        Some(format!("Tag '{key}' must satisfy regular expression pattern: [\\p{{L}}\\p{{Z}}\\p{{N}}_.:/=+\\-@]*"))
    } else {
        None
    }
}

/// The role that an ARN names, path included, in this account.
pub(crate) fn role_by_arn<'a>(account: &'a Account, arn: &str) -> Option<&'a Role> {
    let name = arn.rsplit('/').next()?;
    account.roles.get(&name.to_lowercase()).filter(|role| role.arn == arn)
}

/// Whether `pattern`, in which `*` stands for anything, covers `text`.
pub(crate) fn covers(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(head) else {
        return false;
    };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && covers(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(covers("arn:x/*/$connect", "arn:x/prod/$connect"));
        assert!(covers("*", ""));
        assert!(!covers("arn:x/*/$connect", "arn:x/prod/sendmessage"));
        assert!(!covers("a", "ab"));
    }

    #[test]
    fn tags_are_spelled_as_iam_wants_them() {
        assert_eq!(tag_fault("chatctl:name", "a b/c=d+e-f@g"), None);
        assert!(tag_fault("aws:x", "y").is_some());
        assert!(tag_fault("k", "semi;colon").is_some());
    }
}
