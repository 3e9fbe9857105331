//! What the life has told of each fact in `docs/aws.md`, and how each of its steps went.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sdk_iam::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use serde_json::{Value, json};

use crate::unshown::UNSHOWN;

/// What was seen of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    NotReached { why: String },
    Confirmed { seen: String },
    Refuted { expected: String, seen: String, request_id: Option<String> },
}

impl Verdict {
    /// A refutation outweighs a confirmation, and that what was not reached.
    fn weight(&self) -> u8 {
        match self {
            Self::NotReached { .. } => 0,
            Self::Confirmed { .. } => 1,
            Self::Refuted { .. } => 2,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::NotReached { .. } => "not reached",
            Self::Confirmed { .. } => "confirmed",
            Self::Refuted { .. } => "refuted",
        }
    }

    /// What stands behind it, in a line.
    pub fn words(&self) -> String {
        match self {
            Self::NotReached { why } => why.clone(),
            Self::Confirmed { seen } => seen.clone(),
            Self::Refuted { expected, seen, request_id } => {
                let request = request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default();
                format!("expected {expected}; seen: {seen}{request}")
            }
        }
    }
}

/// How one step went: a line when it was well, what failed when not.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub took: Duration,
    pub ended: Result<String, String>,
}

/// All that is known so far.
pub struct Ledger {
    /// By id, in the order of the page: the title and the verdict.
    pub facts: Vec<(String, String, Verdict)>,
    pub steps: Vec<Step>,
}

/// The page that the facts come from.
const PAGE: &str = include_str!("../../../docs/aws.md");

/// What is said of a fact until its step says more.
const UNTOUCHED: &str = "its step did not come to it";

impl Default for Ledger {
    fn default() -> Self {
        let unreached = |id: &str| {
            let unshown = UNSHOWN.iter().find(|(unshown, _)| *unshown == id);
            Verdict::NotReached { why: unshown.map_or(UNTOUCHED, |(_, why)| *why).to_owned() }
        };
        let facts = PAGE.lines().filter_map(|line| {
            let (id, title) = line.strip_prefix("<a id=\"")?.split_once("**")?.1.split_once(" · ")?;
            Some((id.to_owned(), title.split("**").next()?.trim_end_matches('.').to_owned(), unreached(id)))
        });
        Self { facts: facts.collect(), steps: vec![] }
    }
}

impl Ledger {
    /// The facts that nothing has been said of.
    pub fn untouched(&self) -> Vec<String> {
        let is_untouched = |verdict: &Verdict| matches!(verdict, Verdict::NotReached { why } if why == UNTOUCHED);
        self.facts.iter().filter(|fact| is_untouched(&fact.2)).map(|fact| fact.0.clone()).collect()
    }

    /// Notes what was seen of `id`.
    ///
    /// # Panics
    /// When the page has no such fact: a mistake in this program.
    pub fn note(&mut self, id: &str, verdict: Verdict) {
        let fact = self.facts.iter_mut().find(|fact| fact.0 == id);
        let (_, _, known) = fact.unwrap_or_else(|| panic!("docs/aws.md has no fact `{id}`"));
        if verdict.weight() >= known.weight() {
            *known = verdict;
        }
    }

    pub fn confirm(&mut self, id: &str, seen: impl Into<String>) {
        self.note(id, Verdict::Confirmed { seen: seen.into() });
    }

    pub fn refute(&mut self, id: &str, expected: impl Into<String>, seen: impl Into<String>) {
        self.note(id, Verdict::Refuted { expected: expected.into(), seen: seen.into(), request_id: None });
    }

    pub fn not_reached(&mut self, id: &str, why: impl Into<String>) {
        self.note(id, Verdict::NotReached { why: why.into() });
    }

    /// `id` says that something is so.
    pub fn is_so(&mut self, id: &str, expected: &str, holds: bool, seen: impl Into<String>) {
        if holds { self.confirm(id, seen) } else { self.refute(id, expected, seen) }
    }

    /// `id` says that AWS refuses this call with one of these codes. Another refusal tells nothing of it.
    pub fn is_refused<T, E>(&mut self, id: &str, codes: &[&str], answer: &Result<T, SdkError<E, HttpResponse>>)
    where
        E: ProvideErrorMetadata,
    {
        match answer.as_ref().map_err(Refusal::of) {
            Err(refusal) if codes.contains(&refusal.code.as_str()) => self.confirm(id, refusal.words()),
            Err(refusal) => self.not_reached(id, format!("refused otherwise: {}", refusal.words())),
            Ok(_) => self.refute(id, format!("a refusal with {}", codes.join(" or ")), "the call was taken"),
        }
    }
}

/// What AWS said when it refused.
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
}

impl Refusal {
    pub fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        Self {
            code: error.code().unwrap_or("no answer").to_owned(),
            message: error.message().unwrap_or_default().to_owned(),
            request_id: error.request_id().map(str::to_owned),
        }
    }

    pub fn words(&self) -> String {
        let request = self.request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default();
        format!("{}: {}{request}", self.code, self.message)
    }
}

/// The refusal of a call, as a line.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn said<E: ProvideErrorMetadata>(error: SdkError<E, HttpResponse>) -> String {
    Refusal::of(&error).words()
}

/// The whole, for people and for machines.
pub struct Report {
    pub head: BTreeMap<&'static str, String>,
    pub ledger: Ledger,
    /// By place: what a fresh `up` spent its time on.
    pub waterfalls: Vec<(String, String)>,
}

impl Report {
    /// Whether every step went well and no fact was refuted.
    pub fn is_well(&self) -> bool {
        self.ledger.steps.iter().all(|step| step.ended.is_ok())
            && self.ledger.facts.iter().all(|(_, _, verdict)| verdict.weight() < 2)
    }

    pub fn json(&self) -> Value {
        let facts: Vec<Value> = self
            .ledger
            .facts
            .iter()
            .map(|(id, title, verdict)| {
                let mut fact = json!({ "id": id, "title": title, "verdict": verdict.name(), "words": verdict.words() });
                if let Verdict::Refuted { expected, seen, request_id } = verdict {
                    fact["expected"] = expected.as_str().into();
                    fact["seen"] = seen.as_str().into();
                    fact["requestId"] = request_id.clone().into();
                }
                fact
            })
            .collect();
        let steps: Vec<Value> = self
            .ledger
            .steps
            .iter()
            .map(|step| {
                let words = step.ended.as_ref().unwrap_or_else(|why| why);
                let milliseconds = u64::try_from(step.took.as_millis()).unwrap_or(u64::MAX);
                json!({ "name": step.name, "ok": step.ended.is_ok(), "elapsedMs": milliseconds, "words": words })
            })
            .collect();
        let waterfalls: BTreeMap<&String, &String> =
            self.waterfalls.iter().map(|(place, text)| (place, text)).collect();
        let all = json!({
            "schema": "chatctl-acceptance/1", "head": self.head, "facts": facts, "steps": steps, "waterfalls": waterfalls
        });
        // What is sent back tells nobody whose account it was.
        serde_json::from_str(&without_accounts(&all.to_string())).unwrap_or(all)
    }

    pub fn markdown(&self) -> String {
        let mut text = String::from("# Acceptance run\n\n");
        for (name, value) in &self.head {
            text += &format!("- {name}: {value}\n");
        }
        text += "\n## Steps\n\n| step | ended | seconds | |\n|---|---|---:|---|\n";
        for step in &self.ledger.steps {
            let (ended, words) = match &step.ended {
                Ok(words) => ("well", words),
                Err(words) => ("**failed**", words),
            };
            text += &format!("| {} | {ended} | {:.1} | {} |\n", step.name, step.took.as_secs_f64(), cell(words));
        }
        text += "\n## Facts\n\n| id | fact | verdict | |\n|---|---|---|---|\n";
        for (id, title, verdict) in &self.ledger.facts {
            text += &format!("| {id} | {} | {} | {} |\n", cell(title), verdict.name(), cell(&verdict.words()));
        }
        for (place, waterfall) in &self.waterfalls {
            text += &format!("\n## A fresh `up`: {place}\n\n```text\n{}\n```\n", waterfall.trim_end());
        }
        without_accounts(&text)
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same text with every account id hidden: twelve digits that are no part of something longer.
fn without_accounts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut digits = String::new();
    let mut before = ' ';
    for c in text.chars().map(Some).chain([None]) {
        match c {
            Some(c) if c.is_ascii_alphanumeric() => digits.push(c),
            c => {
                // The end of a request id is none.
                let is_account = before != '-' && digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit());
                out += if is_account { "(account)" } else { &digits };
                digits.clear();
                out.extend(c);
                before = c.unwrap_or(' ');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_hidden_and_nothing_else_is() {
        assert_eq!(without_accounts("arn:aws:iam::111122223333:role/x"), "arn:aws:iam::(account):role/x");
        assert_eq!(without_accounts("8000-111122223333"), "8000-111122223333");
        assert_eq!(without_accounts("1111222233334 and a11112222333"), "1111222233334 and a11112222333");
    }

    #[test]
    fn what_cannot_be_shown_is_on_the_page_and_says_why() {
        let ledger = Ledger::default();
        for (id, why) in UNSHOWN {
            let fact = ledger.facts.iter().find(|fact| fact.0 == *id);
            assert!(fact.is_some_and(|fact| fact.2.words() == *why), "{id}");
        }
    }

    #[test]
    fn the_page_has_its_facts_and_a_refutation_stays() {
        let mut ledger = Ledger::default();
        assert!(ledger.facts.len() > 80 && ledger.facts.iter().any(|fact| fact.0 == "G4"));
        ledger.refute("G4", "one", "two");
        ledger.confirm("G4", "three");
        let fact = ledger.facts.iter().find(|fact| fact.0 == "G4").expect("it is there");
        assert_eq!(fact.2.name(), "refuted");
    }
}
