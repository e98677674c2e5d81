output "identifier" {
  description = "Identifier of the instance."
  value       = aws_db_instance.this.identifier
}

output "host" {
  description = "Host name to connect to."
  value       = aws_db_instance.this.address
}

output "master_secret_arn" {
  description = "Secret in which RDS keeps the master's user name and password, as JSON."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}
