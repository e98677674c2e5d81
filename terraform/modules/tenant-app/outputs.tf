output "service" {
  description = "Name of the service; for alarms."
  value       = module.service.name
}

output "load_balancer" {
  description = "Address and names for metrics of the load balancer; the region's domain and its subdomains point there."
  value       = module.service.load_balancer
}

output "security_group_id" {
  description = "Security group of the tasks; the databases let it in."
  value       = module.service.security_group_id
}

output "readable_arns" {
  description = "Everything that the app's role may read, by ARN; for checks of residency."
  value = flatten([
    for document in [data.aws_iam_policy_document.task, data.aws_iam_policy_document.behind] :
    [for statement in document.statement : tolist(statement.resources)]
  ])
}
