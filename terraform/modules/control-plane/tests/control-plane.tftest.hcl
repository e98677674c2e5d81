mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  fleet_name = "flotilla"
  regions = {
    eu = {
      aws_region           = "eu-central-1"
      kms_key_arn          = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
      db_subnet_group_name = "fleet-eu"
      parameter_group_name = "fleet-eu-postgres18"
      security_group_id    = "sg-eu"
      engine_major         = 18
    }
    us = {
      aws_region           = "us-east-1"
      kms_key_arn          = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111"
      db_subnet_group_name = "fleet-us"
      parameter_group_name = "fleet-us-postgres18"
      security_group_id    = "sg-us"
      engine_major         = 18
    }
  }
  cluster                 = { arn = "arn:aws:ecs:eu-central-1:111122223333:cluster/fleet-eu", name = "fleet-eu" }
  vpc_id                  = "vpc-00000000"
  vpc_cidr                = "10.10.0.0/16"
  private_subnet_ids      = ["subnet-1", "subnet-2"]
  database_networks       = { eu = "10.10.0.0/16", us = "10.20.0.0/16" }
  allowed_cidrs           = ["10.0.0.0/8"]
  host                    = "fleet.example.com"
  certificate_arn         = "arn:aws:acm:eu-central-1:111122223333:certificate/0"
  registry_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:fleet/control-plane/registry-url-AbCdEf"
  kms_key_arn             = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
  image                   = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/cp@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  image_repository_arn    = "arn:aws:ecr:eu-central-1:111122223333:repository/cp"
}

run "rights" {
  command = plan

  assert {
    condition = toset(one([for statement in data.aws_iam_policy_document.task.statement : statement.resources if statement.sid == "KeepSecrets"])) == toset([
      "arn:aws:secretsmanager:eu-central-1:111122223333:secret:flotilla/eu/tenant-*",
      "arn:aws:secretsmanager:eu-central-1:111122223333:secret:flotilla/eu/server-*",
      "arn:aws:secretsmanager:us-east-1:111122223333:secret:flotilla/us/tenant-*",
      "arn:aws:secretsmanager:us-east-1:111122223333:secret:flotilla/us/server-*",
    ])
    error_message = "A region's secrets are made in that region of AWS and in no other."
  }
  assert {
    condition = alltrue([for statement in data.aws_iam_policy_document.task.statement :
      length(statement.condition) > 0 if contains(statement.resources, "*")
    ])
    error_message = "What knows no resource is bound by conditions."
  }
  assert {
    condition = alltrue([for statement in data.aws_iam_policy_document.task.statement :
      toset([for condition in statement.condition : condition.variable]) == toset(["aws:ResourceTag/fleet:fleet", "aws:ResourceTag/fleet:component", "aws:ResourceTag/fleet:region"])
    if statement.sid == "KeepKeys"])
    error_message = "Only keys that the fleet has made for itself can be destroyed."
  }
  assert {
    condition = alltrue([for statement in data.aws_iam_policy_document.servers.statement :
      toset([for condition in statement.condition : condition.variable]) == toset(["aws:ResourceTag/fleet:fleet", "aws:ResourceTag/fleet:server"])
    if statement.sid == "ChangeServers"])
    error_message = "Only servers of the fleet's tenants can be changed or deleted."
  }
  assert {
    condition     = one([for statement in data.aws_iam_policy_document.servers.statement : statement.effect if statement.sid == "LeaveTheRegistryAlone"]) == "Deny"
    error_message = "The registry cannot be deleted by what stands on it."
  }
}

run "data_folder" {
  command = plan

  assert {
    condition     = aws_efs_file_system.data.encrypted && aws_efs_file_system.data.kms_key_id == var.kms_key_arn
    error_message = "The master key lies encrypted."
  }
  assert {
    condition     = aws_efs_access_point.data.posix_user[0].uid == 1000 && aws_efs_access_point.data.root_directory[0].creation_info[0].permissions == "0700"
    error_message = "The program's user has the folder for itself."
  }
  assert {
    condition     = one(aws_efs_backup_policy.data.backup_policy).status == "ENABLED"
    error_message = "Without the master key the registry's secrets cannot be read: it is backed up."
  }
}

run "context" {
  command = plan
  assert {
    condition     = output.context_add_command == "fleet context add fleet --url https://fleet.example.com --token-stdin"
    error_message = "The command line is the CLI's."
  }
}

run "refuses_a_key_of_another_region" {
  command = plan
  variables {
    regions = {
      us = {
        aws_region           = "us-east-1"
        kms_key_arn          = "arn:aws:kms:eu-central-1:111122223333:key/0"
        db_subnet_group_name = "fleet-us"
        parameter_group_name = "fleet-us-postgres18"
        security_group_id    = "sg-us"
        engine_major         = 18
      }
    }
  }
  expect_failures = [var.regions]
}

run "refuses_the_internet" {
  command = plan
  variables {
    allowed_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.allowed_cidrs]
}
