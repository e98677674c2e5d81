mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name               = "fleet-eu"
  cidr               = "10.10.0.0/16"
  availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  kms_key_arn        = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
}

run "network" {
  command = plan

  assert {
    condition     = alltrue([for subnet in concat(values(aws_subnet.public), values(aws_subnet.private)) : !subnet.map_public_ip_on_launch])
    error_message = "Nothing gets a public address by standing in a subnet."
  }
  assert {
    condition     = length(distinct(concat([for s in aws_subnet.public : s.cidr_block], [for s in aws_subnet.private : s.cidr_block], values(output.database_cidrs)))) == 9
    error_message = "No two subnets share addresses."
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 3
    error_message = "Each zone has its own way out."
  }
  assert {
    condition     = contains(keys(aws_vpc_endpoint.services), "secretsmanager") && contains(keys(aws_vpc_endpoint.services), "kms")
    error_message = "Secrets and keys stay in the network."
  }
  assert {
    condition     = aws_cloudwatch_log_group.flow.kms_key_id == var.kms_key_arn && aws_cloudwatch_log_group.flow.retention_in_days == 365
    error_message = "The flow log is encrypted and ends."
  }
  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL"
    error_message = "Refused traffic is logged too."
  }
}

run "refuses_a_small_network" {
  command = plan
  variables {
    cidr = "10.0.0.0/24"
  }
  expect_failures = [var.cidr]
}

run "refuses_one_zone" {
  command = plan
  variables {
    availability_zones = ["eu-central-1a"]
  }
  expect_failures = [var.availability_zones]
}

run "refuses_to_send_secrets_outside" {
  command = plan
  variables {
    private_services = ["logs"]
  }
  expect_failures = [var.private_services]
}
