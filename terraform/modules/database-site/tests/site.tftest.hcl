mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name                   = "fleet-eu"
  vpc_id                 = "vpc-00000000"
  subnet_ids             = ["subnet-1", "subnet-2"]
  client_security_groups = { "tenant app" = "sg-1" }
  client_networks        = { "control plane" = "10.10.0.0/16" }
}

run "settings" {
  command = plan

  assert {
    condition = { for parameter in aws_db_parameter_group.this.parameter : parameter.name => parameter.value } == {
      "client_connection_check_interval"  = "500"
      "log_min_duration_statement"        = "1000"
      "password_encryption"               = "scram-sha-256"
      "rds.accepted_password_auth_method" = "scram"
      "rds.force_ssl"                     = "1"
      "rds.logical_replication"           = "1"
      "track_counts"                      = "1"
    }
    error_message = "The parameter group holds what the fleet needs, and no more."
  }
  assert {
    condition     = aws_db_parameter_group.this.family == "postgres18"
    error_message = "The family follows the major version."
  }
}

run "doors" {
  command = plan

  assert {
    condition     = alltrue([for rule in concat(values(aws_vpc_security_group_ingress_rule.groups), values(aws_vpc_security_group_ingress_rule.networks)) : rule.from_port == 5432 && rule.to_port == 5432])
    error_message = "Nothing but PostgreSQL is reached."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.networks["control plane"].cidr_ipv4 == "10.10.0.0/16"
    error_message = "The peer's network is let in."
  }
}

run "refuses_the_internet" {
  command = plan
  variables {
    client_networks = { everyone = "0.0.0.0/0" }
  }
  expect_failures = [var.client_networks]
}

run "refuses_an_old_version" {
  command = plan
  variables {
    engine_major = 14
  }
  expect_failures = [var.engine_major]
}
