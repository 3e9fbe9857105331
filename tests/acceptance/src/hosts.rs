//! To which host calls go, and what a region says that is not enabled.

use std::sync::{Arc, Mutex};

use aws_config::Region;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

use crate::ledger::{Refusal, said};
use crate::life::{Ended, Life, NAME};

/// Regions that an account has to enable first; few have enabled all of them.
const REGIONS: [&str; 5] = ["af-south-1", "ap-east-1", "eu-south-2", "me-central-1", "mx-central-1"];

/// Keeps the last address.
#[derive(Clone, Debug, Default)]
struct Address(Arc<Mutex<String>>);

impl Intercept for Address {
    fn name(&self) -> &'static str {
        "Address"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut last = self.0.lock().expect("nobody panics here");
        context.request().uri().clone_into(&mut last);
        Ok(())
    }
}

impl Life<'_> {
    pub async fn look_at_hosts(&mut self) -> Ended {
        let sdk = self.place.sdk();
        if sdk.endpoint_url().is_some() {
            for id in ["D6", "S4"] {
                self.ledger.not_reached(id, "all calls go to one endpoint here");
            }
            return Ok(String::new());
        }
        let address = Address::default();
        let config = aws_sdk_dynamodb::config::Builder::from(sdk).interceptor(address.clone()).build();
        let table =
            aws_sdk_dynamodb::Client::from_conf(config).describe_table().table_name(format!("{NAME}-connections"));
        table.send().await.map_err(said)?;
        let told = address.0.lock().expect("nobody panics here").clone();
        self.ledger.confirm("D6", &told);
        if let Some(why) = self.place.lacks() {
            self.ledger.not_reached("S4", why);
            return Ok(told);
        }
        self.ledger.not_reached("S4", "every region that was tried is enabled, or of another partition");
        if self.partition().await? != "aws" {
            return Ok(told);
        }
        for region in REGIONS {
            let sdk = sdk.to_builder().region(Region::from_static(region)).build();
            if let Err(error) = aws_sdk_apigatewayv2::Client::new(&sdk).get_apis().send().await {
                let refusal = Refusal::of(&error);
                let codes = ["UnrecognizedClientException", "InvalidClientTokenId"];
                let seen = format!("{region}: {}", refusal.words());
                self.ledger.is_so("S4", &codes.join(" or "), codes.contains(&refusal.code.as_str()), seen);
                break;
            }
        }
        Ok(told)
    }
}
