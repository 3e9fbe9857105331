//! The whole walkthrough by hand, judged by the model's idea of a chat that works.

use super::common::*;
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};

const ROUTES: [&str; 3] = ["$connect", "$disconnect", "sendmessage"];

async fn table(c: &Clients) {
    let key = KeySchemaElement::builder().attribute_name("connectionId").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("connectionId");
    let attribute = attribute.attribute_type(ScalarAttributeType::S).build().unwrap();
    let create = c.dynamodb.create_table().table_name("tab").billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(attribute).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_chat_works_when_everything_is_there() {
    let (world, c) = world();
    let judge = |api: &str| world.chat_works(ACCOUNT, REGION, api, "prod").map_err(|faults| faults.join("; "));
    c.create_role().await.unwrap();
    table(&c).await;
    let api = c.create_api("chat").await;
    let integration = c.create_integration(&api).await;
    for route in ROUTES {
        c.create_route(&api, route, &integration).await.unwrap();
    }
    let deployment = c.deploy(&api).await;
    assert!(judge(&api).unwrap_err().contains("no such stage"));
    c.apigateway.create_stage().api_id(&api).stage_name("prod").deployment_id(&deployment).send().await.unwrap();
    assert!(judge(&api).unwrap_err().contains("$connect: no such function"));
    wait(10).await;
    let environment = aws_sdk_lambda::types::Environment::builder().variables("TABLE_NAME", "tab").build();
    create_function(&c.lambda).environment(environment).send().await.unwrap();
    assert!(judge(&api).unwrap_err().contains("f is Pending"));
    wait(3).await;
    assert!(judge(&api).unwrap_err().contains("may not be called from"));
    for route in ROUTES {
        let add = c.lambda.add_permission().function_name("f").statement_id(route.trim_start_matches('$'));
        let add = add.action("lambda:InvokeFunction").principal("apigateway.amazonaws.com");
        add.source_arn(format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/*/{route}")).send().await.unwrap();
    }
    assert!(judge(&api).unwrap_err().contains("may not dynamodb:PutItem"));
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Action":["dynamodb:PutItem","dynamodb:DeleteItem","dynamodb:Scan"],
              "Resource":"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/tab"}},
            {{"Effect":"Allow","Action":"execute-api:ManageConnections",
              "Resource":"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/prod/POST/@connections/*"}}]}}"#
    );
    c.iam.put_role_policy().role_name("r").policy_name("p").policy_document(document).send().await.unwrap();
    assert_eq!(judge(&api), Ok(()));
}
