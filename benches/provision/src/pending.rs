//! How long the emulator lets a new function wait until it is active: time that no client can save.

use std::time::{Duration, Instant};

use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime, State};
use support::Ministack;

/// The least of several, from the answer to the creation to the look that saw it active.
pub async fn of_a_new_function(ministack: &Ministack) -> Duration {
    let account = ministack.account();
    let sdk = ministack.sdk_config(&account);
    let role = aws_sdk_iam::Client::new(&sdk).create_role().role_name("pending").assume_role_policy_document("{}");
    role.send().await.expect("roles can be created");
    let lambda = Client::new(&sdk);
    let role = format!("arn:aws:iam::{account}:role/pending");
    let mut least = Duration::MAX;
    for n in 0..5 {
        least = least.min(of(&lambda, &format!("pending-{n}"), &role).await);
    }
    least
}

async fn of(lambda: &Client, name: &str, role: &str) -> Duration {
    let created = lambda
        .create_function()
        .function_name(name)
        .runtime(Runtime::Nodejs24x)
        .handler("index.handler")
        .role(role)
        .code(FunctionCode::builder().zip_file(Blob::new(EMPTY_ZIP)).build())
        .send();
    created.await.expect("functions can be created");
    let began = Instant::now();
    loop {
        let looked = began.elapsed();
        let now = lambda.get_function().function_name(name).send().await.expect("it can be looked at");
        if now.configuration().and_then(|now| now.state()) == Some(&State::Active) {
            return looked;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The end record that is all of an archive without files.
const EMPTY_ZIP: [u8; 22] = *b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
