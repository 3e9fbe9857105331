//! How late IAM is: with a role that is new to Lambda, and with one that is gone.

use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::{Refusal, said};
use crate::life::{Ended, Life};
use crate::looks::TRUST;

/// The role.
pub const YOUNG: &str = "acceptance-young";

const PATIENCE: Duration = Duration::from_secs(180);

impl Life<'_> {
    pub async fn measured(&mut self) -> Ended {
        let (iam, lambda) = (self.aws.iam.clone(), self.aws.lambda.clone());
        let role = iam.create_role().role_name(YOUNG).assume_role_policy_document(TRUST).send().await.map_err(said)?;
        let arn = role.role().map(|role| role.arn().to_owned()).unwrap_or_default();
        let began = Instant::now();
        while iam.get_role().role_name(YOUNG).send().await.is_err() && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let shown = began.elapsed().as_secs_f64();
        let mut refusals: Vec<Refusal> = Vec::new();
        let made = loop {
            match self.create_authorizer(&arn).await {
                Ok(made) => break made,
                Err(error) => {
                    let refusal = Refusal::of(&error);
                    if !refusal.message.contains("role") || began.elapsed() > PATIENCE {
                        return Err(refusal.words());
                    }
                    refusals.push(refusal);
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let taken = began.elapsed().as_secs_f64();
        match refusals.last() {
            Some(last) => {
                let known = last.code == "InvalidParameterValueException" && last.message.contains("cannot be assumed");
                let seen = format!("refused for {taken:.1} s: {}", last.words());
                self.ledger.is_so("L1", "a role that cannot be assumed", known, seen);
            }
            None => self.ledger.not_reached("L1", "the role was taken at once"),
        }
        self.ledger.confirm("U5", format!("{taken:.1} s"));
        let small = made.timeout() == Some(3) && made.memory_size() == Some(128);
        let seen = format!("{:?} s, {:?} MB", made.timeout(), made.memory_size());
        self.ledger.is_so("L11", "3 s and 128 MB", small, seen);
        self.remove_authorizer().await?;
        match lambda.get_function().function_name(crate::AUTHORIZER).send().await {
            Ok(found) => {
                let state =
                    found.configuration().and_then(|function| function.state()).map(|state| state.as_str().to_owned());
                self.ledger.confirm("L5", format!("right after its deletion it is {state:?}"));
            }
            Err(_) => self.ledger.not_reached("L5", "it was gone at once, this time"),
        }
        iam.delete_role().role_name(YOUNG).send().await.map_err(said)?;
        let deleted = Instant::now();
        while iam.get_role().role_name(YOUNG).send().await.is_ok() && deleted.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let gone = deleted.elapsed().as_secs_f64();
        let told = format!(
            "a new role is shown after {shown:.1} s and taken by Lambda after {taken:.1} s; deleted, it is shown for {gone:.1} s"
        );
        self.ledger.confirm("I1", &told);
        self.waterfall = format!("{}\n{told}\n", self.waterfall.trim_end());
        Ok(told)
    }

    pub async fn remove_young(&self) -> Result<(), String> {
        match self.aws.iam.delete_role().role_name(YOUNG).send().await.map_err(|error| Refusal::of(&error)) {
            Err(refusal) if refusal.code != "NoSuchEntity" => Err(refusal.words()),
            _ => Ok(()),
        }
    }
}
