mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name               = "fleet-eu"
  cluster_name       = "fleet-eu"
  services           = ["fleet-app-eu"]
  load_balancers     = { app = { suffix = "app/fleet/0", target_group = "targetgroup/fleet/0" } }
  server_identifiers = ["fleet-eu-1"]
  kms_key_arn        = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
}

run "alarms" {
  command = plan

  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == var.kms_key_arn
    error_message = "Alarms are published encrypted."
  }
  assert {
    condition = toset(keys(aws_cloudwatch_metric_alarm.service)) == toset([
      "app-5xx", "app-unhealthy", "fleet-app-eu-tasks", "fleet-eu-1-cpu", "fleet-eu-1-slots", "fleet-eu-1-storage",
    ])
    error_message = "What users feel and what runs out."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.service : alarm.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "Every alarm is told to somebody."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.service["fleet-eu-1-storage"].treat_missing_data == "breaching"
    error_message = "A server that says nothing is a problem."
  }
}

run "dashboard" {
  command = plan
  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : length(widget.properties.metrics) == 1])
    error_message = "Each widget shows each thing that is watched."
  }
}
