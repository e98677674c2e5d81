output "name" {
  description = "Name of the service."
  value       = aws_ecs_service.this.name
}

output "security_group_id" {
  description = "Security group of the tasks."
  value       = aws_security_group.task.id
}

output "task_role_arn" {
  description = "Role that the program has."
  value       = aws_iam_role.task.arn
}

output "load_balancer" {
  description = "Address, ARN and names for metrics of the load balancer; null where there is none."
  value = var.load_balancer == null ? null : {
    dns_name     = aws_lb.this["this"].dns_name
    zone_id      = aws_lb.this["this"].zone_id
    arn          = aws_lb.this["this"].arn
    suffix       = aws_lb.this["this"].arn_suffix
    target_group = aws_lb_target_group.this["this"].arn_suffix
  }
}
