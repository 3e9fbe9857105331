//! What exists in an account, and edits of it by somebody else's hand.

use aws_config::SdkConfig;

/// The clients of one account.
pub struct Account {
    pub apigateway: aws_sdk_apigatewayv2::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub iam: aws_sdk_iam::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub sqs: aws_sdk_sqs::Client,
}

impl Account {
    pub fn new(sdk: &SdkConfig) -> Self {
        Self {
            apigateway: aws_sdk_apigatewayv2::Client::new(sdk),
            lambda: aws_sdk_lambda::Client::new(sdk),
            dynamodb: aws_sdk_dynamodb::Client::new(sdk),
            iam: aws_sdk_iam::Client::new(sdk),
            logs: aws_sdk_cloudwatchlogs::Client::new(sdk),
            sqs: aws_sdk_sqs::Client::new(sdk),
        }
    }

    /// Everything of the kinds that a deployment consists of, `kind name` each, sorted.
    pub async fn contents(&self) -> Vec<String> {
        let mut contents = Vec::new();
        let apis = self.apigateway.get_apis().send().await.expect("APIs can be listed");
        for api in apis.items() {
            let id = api.api_id().expect("an API has an id");
            contents.push(format!("api {}", api.name().unwrap_or_default()));
            let routes = self.apigateway.get_routes().api_id(id).send().await.expect("routes can be listed");
            contents
                .extend(routes.items().iter().map(|route| format!("route {}", route.route_key().unwrap_or_default())));
            let listed =
                self.apigateway.get_integrations().api_id(id).send().await.expect("integrations can be listed");
            contents.extend(listed.items().iter().map(|_| "integration".to_owned()));
            let listed = self.apigateway.get_deployments().api_id(id).send().await.expect("deployments can be listed");
            contents.extend(listed.items().iter().map(|_| "deployment".to_owned()));
            let stages = self.apigateway.get_stages().api_id(id).send().await.expect("stages can be listed");
            contents
                .extend(stages.items().iter().map(|stage| format!("stage {}", stage.stage_name().unwrap_or_default())));
        }
        let functions = self.lambda.list_functions().send().await.expect("functions can be listed");
        for function in functions.functions() {
            let name = function.function_name().unwrap_or_default();
            contents.push(format!("function {name}"));
            if let Ok(policy) = self.lambda.get_policy().function_name(name).send().await {
                let policy: serde_json::Value =
                    serde_json::from_str(policy.policy().unwrap_or_default()).expect("a policy is JSON");
                let statements = policy["Statement"].as_array().map_or(0, Vec::len);
                contents.extend((0..statements).map(|_| format!("permission {name}")));
            }
        }
        let tables = self.dynamodb.list_tables().send().await.expect("tables can be listed");
        contents.extend(tables.table_names().iter().map(|name| format!("table {name}")));
        let roles = self.iam.list_roles().path_prefix("/chatctl/").send().await.expect("roles can be listed");
        contents.extend(roles.roles().iter().map(|role| format!("role {}", role.role_name())));
        let groups = self.logs.describe_log_groups().send().await.expect("log groups can be listed");
        contents.extend(
            groups.log_groups().iter().map(|group| format!("log-group {}", group.log_group_name().unwrap_or_default())),
        );
        let mappings = self.lambda.list_event_source_mappings().send().await.expect("mappings can be listed");
        contents.extend(mappings.event_source_mappings().iter().map(|mapping| {
            let function = mapping.function_arn().unwrap_or_default();
            format!("mapping {}", function.rsplit(':').next().unwrap_or_default())
        }));
        let queues = self.sqs.list_queues().send().await.expect("queues can be listed");
        let name = |url: &String| format!("queue {}", url.rsplit('/').next().unwrap_or_default());
        contents.extend(queues.queue_urls().iter().map(name));
        contents.sort();
        contents
    }

    /// The connection ids in a table.
    pub async fn connections(&self, table: &str) -> Vec<String> {
        let rows = self.dynamodb.scan().table_name(table).send().await.expect("the table can be read");
        let id = |row: &std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>| {
            row.get("connectionId").and_then(|id| id.as_s().ok()).cloned()
        };
        rows.items().iter().filter_map(id).collect()
    }
}
