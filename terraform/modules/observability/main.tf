# What wakes somebody up, and one page to look at then. An alarm says what users would feel or what is about to
# run out; everything else is on the dashboard and in the programs' own metrics.

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = local.tags
}

resource "aws_cloudwatch_metric_alarm" "service" {
  for_each            = { for alarm in local.service_alarms : alarm.name => alarm }
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = local.tags
}

locals {
  tags = merge(var.tags, { "fleet:component" = "observability" })

  above = "GreaterThanThreshold"
  below = "LessThanThreshold"

  # No requests means no errors, but a server that says nothing is a problem.
  service_alarms = concat(
    flatten([for name, balancer in var.load_balancers : [
      { name = "${name}-5xx", description = "${name} answers with errors", namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = { LoadBalancer = balancer.suffix }, statistic = "Sum", comparison = local.above, threshold = 10, minutes = 5, missing = "notBreaching" },
      { name = "${name}-unhealthy", description = "A task of ${name} cannot serve", namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", dimensions = { LoadBalancer = balancer.suffix, TargetGroup = balancer.target_group }, statistic = "Maximum", comparison = local.above, threshold = 0, minutes = 5, missing = "notBreaching" },
    ]]),
    flatten([for id in var.server_identifiers : [
      { name = "${id}-storage", description = "${id} has less than 10 GiB left", namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = { DBInstanceIdentifier = id }, statistic = "Minimum", comparison = local.below, threshold = 10737418240, minutes = 5, missing = "breaching" },
      { name = "${id}-cpu", description = "${id} is busy for a quarter of an hour", namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = { DBInstanceIdentifier = id }, statistic = "Average", comparison = local.above, threshold = 85, minutes = 15, missing = "breaching" },
      { name = "${id}-slots", description = "A replication slot of ${id} holds more than 20 GiB of WAL: a move has been left behind", namespace = "AWS/RDS", metric = "OldestReplicationSlotLag", dimensions = { DBInstanceIdentifier = id }, statistic = "Maximum", comparison = local.above, threshold = 21474836480, minutes = 5, missing = "notBreaching" },
    ]]),
    [for service in var.services :
      { name = "${service}-tasks", description = "${service} has no task running", namespace = "ECS/ContainerInsights", metric = "RunningTaskCount", dimensions = { ClusterName = var.cluster_name, ServiceName = service }, statistic = "Minimum", comparison = local.below, threshold = 1, minutes = 2, missing = "breaching" }
    ],
  )
}
