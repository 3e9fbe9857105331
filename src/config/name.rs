//! The name of a deployment: what everything in AWS is named and tagged after.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The name of a deployment.
///
/// At most 32 characters, so that the longest derived name, a role's
/// `<name>-<region>-<function>`, fits IAM's 64 (I2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    pub const MAX: usize = 32;

    /// # Errors
    /// A usage error that names the broken rule.
    pub fn parse(text: &str) -> Result<Self> {
        let rule = if text.is_empty() {
            "it is empty"
        } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            "it has characters other than a-z, A-Z, 0-9, `-` and `_`"
        } else if text.len() > Self::MAX {
            "it is longer than 32 characters"
        } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            "it does not start with a letter or a digit"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::usage(format!("`{text}` is not a valid name: {rule}"))
            .hint("choose one like `chat` or `pr-42`, or let `--name-from` make one from a branch name"))
    }

    /// A valid name for any text, such as a branch: the same text always gives the same name, and different
    /// texts different ones, because whatever had to be changed is made up for by a hash of the whole text.
    pub fn from_text(text: &str) -> Self {
        const HASH: usize = 8;
        if let Ok(name) = Self::parse(text)
            && text.chars().all(|c| !c.is_ascii_uppercase())
            && !Self::has_hash_tail(text)
        {
            return name;
        }
        let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut slug = String::new();
        for c in text.chars() {
            match c {
                c if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
                _ if slug.ends_with('-') || slug.is_empty() => {}
                _ => slug.push('-'),
            }
        }
        slug.truncate(Self::MAX - HASH - 1);
        let slug = slug.trim_end_matches('-');
        let slug = if slug.is_empty() { "x" } else { slug };
        Self(format!("{slug}-{}", &hash[..HASH]))
    }

    /// Whether `text` could itself be the outcome of shortening: then it is hashed as well.
    fn has_hash_tail(text: &str) -> bool {
        text.rsplit_once('-').is_some_and(|(_, tail)| tail.len() == 8 && tail.chars().all(|c| c.is_ascii_hexdigit()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Name {
    fn default() -> Self {
        Self("chat".to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
