//! Where calls go that variables or the profile lead elsewhere than the SDK would: to AWS's own endpoints in another place, or
//! to an emulator (S3).

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

use crate::error::{Error, Result};

/// The services that a deployment lives in, as the SDK knows them.
const SERVICES: [&str; 8] =
    ["ApiGatewayV2", "CloudWatch", "CloudWatch Logs", "DynamoDB", "IAM", "Lambda", "SQS", "STS"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Where the calls of all services go, if that is no endpoint of AWS's: then this is no AWS.
    pub emulator: Option<String>,
    /// Services, as variables spell them, and the endpoints of AWS's that were named for them.
    named: Vec<(String, String)>,
}

impl Endpoints {
    /// # Errors
    /// A usage error where calls would go to two places: parts of a deployment would not find one another, and `down` would
    /// leave some of it.
    pub fn of(sdk: &SdkConfig) -> Result<Self> {
        let led = SERVICES.map(|service| (service.to_lowercase().replace(' ', "_"), led(sdk, service)));
        let emulators = led.each_ref().map(|(service, url)| (service, url.as_deref().filter(|url| !is_of_aws(url))));
        let [(first, emulator), others @ ..] = emulators;
        if let Some((other, elsewhere)) = others.into_iter().find(|(_, elsewhere)| *elsewhere != emulator) {
            let [here, there] = [emulator, elsewhere].map(|url| url.unwrap_or("AWS"));
            return Err(Error::usage(format!("calls of `{first}` would go to {here}, those of `{other}` to {there}"))
                .hint("a deployment lives in one place: set `AWS_ENDPOINT_URL`, or `endpoint_url` of the profile, which lead all services; or, for AWS, `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true`"));
        }
        let emulator = emulator.map(str::to_owned);
        let named = led.into_iter().filter_map(|(service, url)| Some((service, url.filter(|_| emulator.is_none())?)));
        Ok(Self { named: named.collect(), emulator })
    }

    /// A line for each, so that nobody mistakes an emulator for AWS.
    pub fn told(&self) -> impl Iterator<Item = String> {
        let emulator = self.emulator.iter().map(|url| format!("through the endpoint override {url}"));
        let named = self.named.iter();
        let named =
            named.map(|(service, url)| format!("{service} through the endpoint override {url}, which is AWS's"));
        emulator.chain(named)
    }
}

/// Where the client of `service` is led, found as it finds it: what this program sets itself comes first.
fn led(sdk: &SdkConfig, service: &str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let configured = || sdk.service_config()?.load_config(key.ok()?);
    let is_ours = sdk.get_origin("endpoint_url").is_client_config();
    let configured = if is_ours { None } else { configured() };
    let url = configured.or_else(|| sdk.endpoint_url().map(str::to_owned))?;
    Some(url.trim_end_matches('/').to_owned())
}

/// Whether AWS answers there, in a VPC too: nobody else has certificates for these names.
fn is_of_aws(url: &str) -> bool {
    const SUFFIXES: [&str; 6] = [
        ".amazonaws.com",
        ".api.aws",
        ".amazonaws.com.cn",
        ".api.amazonwebservices.com.cn",
        ".amazonaws.eu",
        ".api.amazonwebservices.eu",
    ];
    let host = url.strip_prefix("https://").and_then(|rest| rest.split([':', '/']).next());
    host.is_some_and(|host| SUFFIXES.iter().any(|suffix| host.ends_with(suffix)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_types::service_config::LoadServiceConfig;

    use super::*;

    /// What variables and the profile say of each service.
    #[derive(Debug)]
    struct Said(BTreeMap<&'static str, &'static str>);

    impl LoadServiceConfig for Said {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            assert_eq!((key.env(), key.profile()), ("AWS_ENDPOINT_URL", "endpoint_url"));
            self.0.get(key.service_id()).map(ToString::to_string)
        }
    }

    fn of(said: impl IntoIterator<Item = (&'static str, &'static str)>) -> Result<Endpoints> {
        Endpoints::of(&SdkConfig::builder().service_config(Said(said.into_iter().collect())).build())
    }

    #[test]
    fn an_emulator_is_where_all_services_are_led() {
        const URL: &str = "http://localhost:4566";
        let all = SERVICES.map(|service| (service, "http://localhost:4566/"));
        assert_eq!(of(all).unwrap().emulator.as_deref(), Some(URL));
        for missing in SERVICES {
            let error = of(all.into_iter().filter(|(service, _)| *service != missing)).unwrap_err();
            assert!(error.message.contains("to AWS") && error.message.contains(URL), "{missing}: {error}");
        }
        let two = of(all.into_iter().chain([("Lambda", "http://localhost:9001")])).unwrap_err();
        assert_eq!(
            two.message,
            "calls of `apigatewayv2` would go to http://localhost:4566, those of `lambda` to http://localhost:9001"
        );
    }

    #[test]
    fn endpoints_of_aws_are_no_emulators() {
        for url in [
            "https://vpce-0a1b-2c3d.lambda.eu-central-1.vpce.amazonaws.com",
            "https://lambda-fips.us-gov-west-1.amazonaws.com/",
            "https://lambda.eu-central-1.api.aws:443",
            "https://lambda.cn-north-1.amazonaws.com.cn",
            "https://lambda.cn-north-1.api.amazonwebservices.com.cn",
            "https://lambda.eusc-de-east-1.amazonaws.eu",
            "https://lambda.eusc-de-east-1.api.amazonwebservices.eu",
        ] {
            let endpoints = of([("Lambda", url)]).unwrap();
            assert_eq!(endpoints.emulator, None, "{url}");
            let url = url.trim_end_matches('/');
            let told = format!("lambda through the endpoint override {url}, which is AWS's");
            assert_eq!(endpoints.told().collect::<Vec<_>>(), [told]);
        }
        for url in [
            // Somebody's machine there, and names that only look so.
            "http://ec2-1-2-3-4.compute-1.amazonaws.com:4566",
            "https://amazonaws.com.example.org",
            "https://lambda.eu-central-1.amazonaws.com@example.org",
            "https://example.org/.amazonaws.com",
            "localhost:4566",
        ] {
            assert_eq!(of(SERVICES.map(|service| (service, url))).unwrap().emulator.as_deref(), Some(url));
        }
    }
}
