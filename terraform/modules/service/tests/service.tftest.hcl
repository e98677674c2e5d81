mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name                 = "fleet-test"
  component            = "tenant-app"
  cluster              = { arn = "arn:aws:ecs:eu-central-1:111122223333:cluster/fleet-eu", name = "fleet-eu" }
  vpc_id               = "vpc-00000000"
  subnet_ids           = ["subnet-1", "subnet-2"]
  image                = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/app@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  image_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/app"
  port                 = 4700
  environment          = { FLEET_REGION = "eu" }
  secret_files         = { "app.token" = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:fleet/apps/eu/token-AbCdEf" }
  kms_key_arn          = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
  load_balancer = {
    internal        = false
    subnet_ids      = ["subnet-3", "subnet-4"]
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0"
    allowed_cidrs   = ["0.0.0.0/0"]
  }
}

run "task" {
  command = plan

  assert {
    condition     = alltrue([for container in jsondecode(aws_ecs_task_definition.this.container_definitions) : container.readonlyRootFilesystem])
    error_message = "Nothing is written but to volumes."
  }
  assert {
    condition     = [for container in jsondecode(aws_ecs_task_definition.this.container_definitions) : container.name] == ["files", "program"]
    error_message = "Files are written before the program starts."
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].dependsOn == [{ containerName = "files", condition = "SUCCESS" }]
    error_message = "The program waits for its files."
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].secrets == []
    error_message = "What is read from a file is not in the program's environment."
  }
  assert {
    condition     = !aws_ecs_service.this.network_configuration[0].assign_public_ip && !aws_ecs_service.this.enable_execute_command
    error_message = "Tasks have no public address and no shell."
  }
  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    error_message = "A broken deployment goes back."
  }
  assert {
    condition     = aws_cloudwatch_log_group.this.kms_key_id == var.kms_key_arn && aws_cloudwatch_log_group.this.retention_in_days == 365
    error_message = "The log is encrypted and ends."
  }
}

run "start_rights" {
  command = plan

  assert {
    condition = toset(flatten([for statement in data.aws_iam_policy_document.execution.statement : tolist(statement.actions)])) == toset([
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer",
      "kms:Decrypt", "logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue",
    ])
    error_message = "ECS may pull, log and read this task's secrets; no more."
  }
  assert {
    condition     = one([for statement in data.aws_iam_policy_document.execution.statement : tolist(statement.resources) if statement.sid == "ReadSecretsOfTheTask"]) == tolist(values(var.secret_files))
    error_message = "This task's secrets and no others."
  }
}

run "way_in" {
  command = plan

  assert {
    condition     = aws_lb_listener.https["this"].protocol == "HTTPS" && aws_lb_listener.https["this"].ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    error_message = "TLS 1.2 or later."
  }
  assert {
    condition     = aws_lb.this["this"].enable_deletion_protection && aws_lb.this["this"].drop_invalid_header_fields
    error_message = "The load balancer is hard to lose and passes no malformed headers."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.task["this"].from_port == 4700 && aws_vpc_security_group_ingress_rule.task["this"].cidr_ipv4 == null
    error_message = "Tasks are reached through the load balancer alone."
  }
}

run "without_a_way_in" {
  command = plan
  variables {
    load_balancer = null
    port          = null
  }
  assert {
    condition     = length(aws_lb.this) == 0 && length(aws_vpc_security_group_ingress_rule.task) == 0
    error_message = "A worker is reached by nobody."
  }
}

run "refuses_a_tag" {
  command = plan
  variables {
    image = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/app:latest"
  }
  expect_failures = [var.image]
}

run "refuses_a_secret_as_variable" {
  command = plan
  variables {
    environment = { FLEET_TOKEN = "flt_secret" }
  }
  expect_failures = [var.environment]
}

run "refuses_an_internal_way_in_for_everyone" {
  command = plan
  variables {
    load_balancer = {
      internal        = true
      subnet_ids      = ["subnet-3", "subnet-4"]
      certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0"
      allowed_cidrs   = ["0.0.0.0/0"]
    }
  }
  expect_failures = [var.load_balancer]
}
