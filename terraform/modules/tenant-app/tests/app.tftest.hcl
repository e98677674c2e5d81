mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  fleet_name           = "flotilla"
  region               = "eu"
  control_plane_url    = "https://fleet.example.com"
  cluster              = { arn = "arn:aws:ecs:eu-central-1:111122223333:cluster/fleet-eu", name = "fleet-eu" }
  vpc_id               = "vpc-00000000"
  public_subnet_ids    = ["subnet-3", "subnet-4"]
  private_subnet_ids   = ["subnet-1", "subnet-2"]
  database_cidrs       = { "eu-central-1a" = "10.10.128.0/20" }
  image                = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/app@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  image_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/app"
  certificate_arn      = "arn:aws:acm:eu-central-1:111122223333:certificate/0"
  token_secret_arn     = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:fleet/apps/eu/token-AbCdEf"
  kms_key_arn          = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
}

run "rights" {
  command = plan

  assert {
    condition     = toset(flatten([for statement in data.aws_iam_policy_document.task.statement : tolist(statement.actions)])) == toset(["secretsmanager:GetSecretValue"])
    error_message = "The app reads; it changes nothing."
  }
  assert {
    condition     = alltrue([for arn in output.readable_arns : can(regex("^arn:aws:[a-z]+:eu-central-1:111122223333:", arn))])
    error_message = "Every ARN names this region."
  }
  assert {
    condition     = contains(output.readable_arns, "arn:aws:secretsmanager:eu-central-1:111122223333:secret:flotilla/eu/tenant-*")
    error_message = "This region's tenants."
  }
  assert {
    condition = toset(flatten([for statement in data.aws_iam_policy_document.behind.statement : [for condition in statement.condition : condition.variable]])) == toset([
      "aws:ResourceTag/fleet:fleet", "aws:ResourceTag/fleet:region", "aws:ResourceTag/fleet:tenant",
      "kms:EncryptionContext:SecretARN", "kms:ViaService",
    ])
    error_message = "A key is used by its tags only, and for a secret that may be read."
  }
}

run "refuses_plain_http" {
  command = plan
  variables {
    control_plane_url = "http://fleet.example.com"
  }
  expect_failures = [var.control_plane_url]
}
