mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name        = "fleet/eu"
  description = "Data at rest"
}

run "key" {
  command = plan

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && !aws_kms_key.this.multi_region
    error_message = "The key rotates and never leaves its region."
  }
  assert {
    condition     = aws_kms_key.this.deletion_window_in_days == 30
    error_message = "Its destruction can be taken back for 30 days."
  }
  assert {
    condition     = aws_kms_alias.this.name == "alias/fleet/eu"
    error_message = "It is found by the region's name."
  }
  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.key.statement : alltrue([for action in statement.actions : !strcontains(action, "*")])])
    error_message = "Every action is written out."
  }
  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.key.statement : alltrue([for principal in statement.principals : !contains(principal.identifiers, "*")])])
    error_message = "Nobody outside the account."
  }
  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.key.statement : length(statement.condition) == 1 if endswith(statement.sid, "Logs") || endswith(statement.sid, "Alarms")])
    error_message = "Services are bound to the fleet's own groups and to this account."
  }
}

run "refuses_a_short_window" {
  command = plan
  variables {
    deletion_window_days = 3
  }
  expect_failures = [var.deletion_window_days]
}
