output "db_subnet_group_name" {
  description = "Subnet group for every server here."
  value       = aws_db_subnet_group.this.name
}

output "security_group_id" {
  description = "Security group for every server here."
  value       = aws_security_group.this.id
}

output "parameter_group_name" {
  description = "Parameter group for every server here."
  value       = aws_db_parameter_group.this.name
}

output "engine_major" {
  description = "Major version of PostgreSQL that the parameter group is for."
  value       = var.engine_major
}
