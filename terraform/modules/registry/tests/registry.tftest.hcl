mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  vpc_id                 = "vpc-00000000"
  subnet_ids             = ["subnet-1", "subnet-2"]
  client_security_groups = { "control plane" = "sg-1" }
  kms_key_arn            = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
}

run "registry" {
  command = plan

  assert {
    condition     = aws_secretsmanager_secret.url.kms_key_id == var.kms_key_arn && aws_secretsmanager_secret.url.recovery_window_in_days == 30
    error_message = "The URL's secret is encrypted and can be brought back."
  }
  assert {
    condition     = output.identifier == "fleet-registry"
    error_message = "The control plane's policy denies changes of the server by this name."
  }
  assert {
    condition     = startswith(output.master_secret_arn, "arn:aws:secretsmanager:")
    error_message = "The master's password is a reference."
  }
}

run "refuses_one_zone" {
  command = plan
  variables {
    subnet_ids = ["subnet-1"]
  }
  expect_failures = [var.subnet_ids]
}
