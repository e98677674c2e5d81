data "aws_region" "this" {}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for index, widget in local.widgets : {
      type   = "metric"
      x      = (index % 2) * 12
      y      = floor(index / 2) * 6
      width  = 12
      height = 6
      properties = {
        title   = widget.title
        region  = data.aws_region.this.region
        view    = "timeSeries"
        stat    = widget.stat
        period  = 60
        metrics = widget.metrics
      }
    }]
  })
}

locals {
  balancers = values(var.load_balancers)
  widgets = [
    { title = "Requests a minute", stat = "Sum", metrics = [for balancer in local.balancers : ["AWS/ApplicationELB", "RequestCount", "LoadBalancer", balancer.suffix]] },
    { title = "Answers with errors", stat = "Sum", metrics = [for balancer in local.balancers : ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "LoadBalancer", balancer.suffix]] },
    { title = "Time to answer, p99", stat = "p99", metrics = [for balancer in local.balancers : ["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", balancer.suffix]] },
    { title = "Running tasks", stat = "Minimum", metrics = [for service in var.services : ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.cluster_name, "ServiceName", service]] },
    { title = "Connections to servers", stat = "Maximum", metrics = [for id in var.server_identifiers : ["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", id]] },
    { title = "CPU of servers", stat = "Average", metrics = [for id in var.server_identifiers : ["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", id]] },
    { title = "Free storage of servers", stat = "Minimum", metrics = [for id in var.server_identifiers : ["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", id]] },
    { title = "WAL held by slots", stat = "Maximum", metrics = [for id in var.server_identifiers : ["AWS/RDS", "OldestReplicationSlotLag", "DBInstanceIdentifier", id]] },
  ]
}
