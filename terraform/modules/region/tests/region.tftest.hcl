mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  region                 = "eu"
  vpc_id                 = "vpc-00000000"
  database_cidrs         = { "eu-central-1a" = "10.10.128.0/20", "eu-central-1b" = "10.10.144.0/20" }
  client_security_groups = { "tenant app" = "sg-1" }
  servers                = { "eu-1" = {}, "acme-1" = { tenant = "acme" } }
}

run "region" {
  command = plan

  assert {
    condition     = alltrue([for subnet in aws_subnet.database : !subnet.map_public_ip_on_launch])
    error_message = "Databases have no public address."
  }
  assert {
    condition     = aws_secretsmanager_secret.app_token.kms_key_id == output.kms_key_arn
    error_message = "The app's key lies under the region's key."
  }
  assert {
    condition     = aws_secretsmanager_secret.app_token.tags["fleet:region"] == "eu"
    error_message = "Costs are known by region."
  }
  assert {
    condition     = aws_ecs_cluster.this.setting == toset([{ name = "containerInsights", value = "enabled" }])
    error_message = "Alarms count running tasks."
  }
}

run "servers_are_registered_by_a_pipe" {
  command = plan

  assert {
    condition     = endswith(output.server_add_commands["eu-1"], "| fleet server add eu-1 --region eu --mode shared --url-stdin --wait")
    error_message = "A shared server is added as one."
  }
  assert {
    condition     = endswith(output.server_add_commands["acme-1"], "| fleet server add acme-1 --region eu --mode dedicated --url-stdin --wait")
    error_message = "A tenant's own server is dedicated."
  }
  assert {
    condition     = strcontains(output.server_add_commands["eu-1"], "sslmode=verify-full") && strcontains(output.server_add_commands["eu-1"], "get-secret-value")
    error_message = "The password comes from Secrets Manager and the server is verified."
  }
}

run "refuses_the_name_that_aws_has" {
  command = plan
  variables {
    region = "eu-central-1"
  }
  expect_failures = [var.region]
}
