pub use aws_sdk_apigatewayv2 as a; pub use aws_sdk_lambda as b; pub use aws_sdk_dynamodb as c; pub use aws_sdk_iam as d; pub use aws_sdk_sts as e; pub use aws_sdk_cloudwatchlogs as f;
