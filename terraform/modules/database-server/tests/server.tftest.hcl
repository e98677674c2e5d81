mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name        = "fleet-eu-1"
  kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
  site = {
    db_subnet_group_name = "fleet-eu"
    security_group_id    = "sg-1"
    parameter_group_name = "fleet-eu-postgres18"
    engine_major         = 18
  }
}

run "server" {
  command = plan

  assert {
    condition     = aws_db_instance.this.storage_encrypted && aws_db_instance.this.kms_key_id == var.kms_key_arn
    error_message = "Storage is encrypted with the region's key."
  }
  assert {
    condition     = !aws_db_instance.this.publicly_accessible
    error_message = "A server has no public address."
  }
  assert {
    condition     = aws_db_instance.this.multi_az
    error_message = "A server has a standby."
  }
  assert {
    condition     = aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot && !aws_db_instance.this.delete_automated_backups
    error_message = "A server is hard to lose."
  }
  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null && aws_db_instance.this.master_user_secret_kms_key_id == var.kms_key_arn
    error_message = "RDS makes the password; it is not in the state."
  }
  assert {
    condition     = aws_db_instance.this.backup_retention_period == 14 && aws_db_instance.this.copy_tags_to_snapshot
    error_message = "Two weeks of backups, with their tags."
  }
  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.this : group.kms_key_id == var.kms_key_arn && group.retention_in_days > 0])
    error_message = "Logs are encrypted and end."
  }
  assert {
    condition     = lookup(aws_db_instance.this.tags, "fleet:tenant", null) == null
    error_message = "A shared server is no tenant's cost."
  }
}

run "a_tenants_own_server_is_its_cost" {
  command = plan
  variables {
    tenant = "acme"
  }
  assert {
    condition     = aws_db_instance.this.tags["fleet:tenant"] == "acme" && aws_db_instance.this.tags["fleet:component"] == "database"
    error_message = "The tag names the tenant."
  }
}

run "monitoring_writes_its_group_only" {
  command = plan
  assert {
    condition     = alltrue(flatten([for statement in data.aws_iam_policy_document.monitoring.statement : [for arn in statement.resources : startswith(arn, "arn:aws:logs:eu-central-1:111122223333:log-group:RDSOSMetrics")]]))
    error_message = "The role writes one log group of one region."
  }
}

run "refuses_to_do_without_backups" {
  command = plan
  variables {
    backup_days = 0
  }
  expect_failures = [var.backup_days]
}
