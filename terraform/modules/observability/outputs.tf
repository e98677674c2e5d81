output "topic_arn" {
  description = "Topic that alarms are published to; subscribe whoever is on duty."
  value       = aws_sns_topic.alarms.arn
}

output "dashboard" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
