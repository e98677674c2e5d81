mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

mock_provider "aws" {
  alias           = "us"
  source          = "../../mocks"
  override_during = plan
  mock_data "aws_region" {
    defaults = { region = "us-east-1" }
  }
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
  }
  mock_resource "aws_kms_key" {
    defaults = {
      arn    = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111"
      key_id = "11111111-1111-1111-1111-111111111111"
    }
  }
}

variables {
  domain = "example.com"
  control_plane = {
    host            = "fleet.example.com"
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0"
    image           = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/cp@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    repository_arn  = "arn:aws:ecr:eu-central-1:111122223333:repository/cp"
  }
  apps = {
    eu = {
      image           = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/app@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      repository_arn  = "arn:aws:ecr:eu-central-1:111122223333:repository/app"
      certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0"
    }
    us = {
      image           = "111122223333.dkr.ecr.us-east-1.amazonaws.com/app@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      repository_arn  = "arn:aws:ecr:us-east-1:111122223333:repository/app"
      certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/0"
    }
  }
}

run "residency" {
  command = plan

  assert {
    condition     = alltrue([for arn in output.readable_by_app.eu : can(regex("^arn:aws:[a-z]+:eu-central-1:", arn))])
    error_message = "The app of eu reads nothing outside Frankfurt."
  }
  assert {
    condition     = alltrue([for arn in output.readable_by_app.us : can(regex("^arn:aws:[a-z]+:us-east-1:", arn))])
    error_message = "The app of us reads nothing outside Virginia."
  }
  assert {
    condition     = length(setintersection(output.readable_by_app.eu, output.readable_by_app.us)) == 0
    error_message = "The two have nothing in common."
  }
  assert {
    condition     = alltrue([for name, arns in output.readable_by_app : alltrue([for arn in arns : !strcontains(arn, ":secret:") || endswith(arn, ":secret:flotilla/${name}/tenant-*")])])
    error_message = "Of secrets, an app reads its region's tenants'."
  }
}

run "ways_between" {
  command = plan

  assert {
    condition     = alltrue([for route in values(aws_route.from_us) : route.destination_cidr_block == "10.10.0.0/16"]) && contains(keys(aws_route.from_us), "databases")
    error_message = "Servers in us answer the control plane."
  }
  assert {
    condition     = !contains(keys(aws_route.from_eu), "databases")
    error_message = "Databases of eu have no way to us."
  }
}

run "first_steps" {
  command = plan

  assert {
    condition     = output.first_steps[0] == "fleet context add fleet --url https://fleet.example.com --token-stdin"
    error_message = "First of all the CLI learns where the fleet is."
  }
  assert {
    condition     = contains(output.first_steps, "fleet region create us --jurisdiction US --domain us.example.com --app-url https://us.example.com")
    error_message = "Regions are made with their domains."
  }
  assert {
    condition     = length([for step in output.first_steps : step if strcontains(step, "fleet server add ")]) == 2
    error_message = "Each server that was made is registered."
  }
}
