//! A function of somebody else's that says who may connect.

use std::io::Write;
use std::time::Duration;

use aws_sdk_lambda::operation::create_function::{CreateFunctionError, CreateFunctionOutput};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use chatctl::websocket::{Auth, Endpoint};
use tokio::time::Instant;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::clients::ECHO;
use crate::ledger::{Refusal, said};
use crate::life::{Ended, Life};

pub const AUTHORIZER: &str = "guard-of-acceptance";

/// Lets in whoever has the right key.
const CODE: &str = "export const handler = async (event) => ({
    principalId: 'somebody',
    policyDocument: { Version: '2012-10-17', Statement: [{
        Action: 'execute-api:Invoke',
        Effect: event.queryStringParameters?.key === 'right' ? 'Allow' : 'Deny',
        Resource: event.methodArn,
    }] },
});
";

impl Life<'_> {
    pub async fn guarded(&mut self) -> Ended {
        let arn = self.make_authorizer().await?;
        let mut flags = format!("--authorizer {arn}");
        if self.place.no_clients().is_none() {
            // So that a handler tells who connects.
            flags += &format!(" --config {}", self.project()?);
        }
        self.up(&flags).await?;
        self.ends(&format!("status {flags}"), 0).await?;
        if self.place.no_clients().is_none() {
            self.ends("verify --query key=right", 0).await?;
            self.ledger.confirm("G20", "with the permission, who has the right key connects");
            let key = vec![("key".to_owned(), "right".to_owned())];
            let right = Endpoint { url: self.url.clone(), auth: Auth::Query(key) };
            let mut socket = right.connect().await.map_err(|error| error.to_string())?;
            let reply = self.answered(&mut socket, ECHO).await?;
            chatctl::websocket::close(socket, Duration::from_secs(20)).await;
            let is_told = reply.as_deref() == Some("somebody");
            self.ledger.is_so("H21", "who it is, told to a handler", is_told, format!("{reply:?}"));
            let key = vec![("key".to_owned(), "wrong".to_owned())];
            let wrong = Endpoint { url: self.url.clone(), auth: Auth::Query(key) };
            if wrong.connect().await.is_ok() {
                return Err("who has the wrong key connects too".to_owned());
            }
        }
        self.up("").await?;
        self.ends("status", 0).await?;
        let routes = self.routes(&self.api().await?).await?;
        let free = routes.iter().all(|route| route.authorizer_id().is_none());
        self.ledger.is_so("G22", "no id of an authorizer under NONE", free, if free { "no id" } else { "an id" });
        self.remove_authorizer().await?;
        Ok(String::new())
    }

    /// An authorizer of `chatctl`'s own. Nobody here has a token of its issuer.
    pub async fn asked_for_tokens(&mut self) -> Ended {
        let flags = "--authorizer jwt --jwt-issuer https://accounts.google.com --jwt-audience acceptance";
        self.up(flags).await?;
        self.ends(&format!("status {flags}"), 0).await?;
        if self.place.no_clients().is_none() {
            let without = Endpoint { url: self.url.clone(), auth: Auth::None }.connect().await;
            let seen = without.as_ref().map_or_else(|error| error.to_string(), |_| "a client connects".to_owned());
            self.ledger.is_so("G30", "401 without a token", seen.contains("401"), seen);
            let token = vec![("token".to_owned(), "a.b.c".to_owned())];
            if (Endpoint { url: self.url.clone(), auth: Auth::Query(token) }).connect().await.is_ok() {
                return Err("who has a token of nobody's connects".to_owned());
            }
        }
        self.up("").await?;
        self.ends("status", 0).await?;
        Ok(String::new())
    }

    async fn make_authorizer(&self) -> Result<String, String> {
        let role = self.aws.iam.get_role().role_name(self.role()).send().await;
        let role = role.map_err(said)?;
        let role = role.role().map(|role| role.arn().to_owned()).unwrap_or_default();
        let made = self.create_authorizer(&role).await.map_err(said)?;
        Ok(made.function_arn().unwrap_or_default().to_owned())
    }

    pub async fn create_authorizer(
        &self,
        role: &str,
    ) -> Result<CreateFunctionOutput, SdkError<CreateFunctionError, HttpResponse>> {
        let code = Blob::new(zipped("index.mjs", CODE).expect("a zip fits into memory"));
        let made = self.aws.lambda.create_function().function_name(AUTHORIZER).role(role).handler("index.handler");
        let made = made.runtime(Runtime::from("nodejs24.x")).code(FunctionCode::builder().zip_file(code).build());
        made.send().await
    }

    pub async fn remove_authorizer(&self) -> Result<(), String> {
        let began = Instant::now();
        // While it is being made, it is not deleted (L3).
        while let Err(error) = self.aws.lambda.delete_function().function_name(AUTHORIZER).send().await {
            let refusal = Refusal::of(&error);
            if refusal.code != "ResourceConflictException" || began.elapsed() > Duration::from_secs(60) {
                gone::<()>(Err(refusal))?;
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // Made by its first line, where its role may make one.
        let group = format!("/aws/lambda/{AUTHORIZER}");
        let deleted = self.aws.logs.delete_log_group().log_group_name(group).send().await;
        gone(deleted.map_err(|error| Refusal::of(&error)))
    }
}

fn gone<T>(deleted: Result<T, Refusal>) -> Result<(), String> {
    match deleted {
        Err(refusal) if refusal.code != "ResourceNotFoundException" => Err(refusal.words()),
        _ => Ok(()),
    }
}

fn zipped(name: &str, text: &str) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, SimpleFileOptions::default().unix_permissions(0o644))?;
    zip.write_all(text.as_bytes())?;
    Ok(zip.finish()?.into_inner())
}
