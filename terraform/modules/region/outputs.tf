output "kms_key_arn" {
  description = "The region's key."
  value       = module.key.arn
}

output "site" {
  description = "Where servers stand: subnet group, security group, parameter group and major version."
  value       = module.site
}

output "cluster" {
  description = "Cluster for the region's tasks."
  value       = { arn = aws_ecs_cluster.this.arn, name = aws_ecs_cluster.this.name }
}

output "database_route_table_id" {
  description = "Route table of the databases' subnets; for the way back to a peer."
  value       = aws_route_table.database.id
}

output "database_subnet_cidrs" {
  description = "Addresses of the databases; for the rules of who connects to them."
  value       = var.database_cidrs
}

output "app_token_secret_arn" {
  description = "Secret that the tenant app reads its API key from; empty until somebody writes it."
  value       = aws_secretsmanager_secret.app_token.arn
}

output "server_identifiers" {
  description = "Identifiers of the servers made here; for alarms."
  value       = [for server in module.server : server.identifier]
}

output "server_add_commands" {
  description = "Command lines that register the servers with the fleet. Passwords go from Secrets Manager into a pipe."
  value = { for name, server in module.server : name => join(" ", [
    "aws secretsmanager get-secret-value --region ${data.aws_region.this.region} --secret-id '${server.master_secret_arn}'",
    "--query SecretString --output text |",
    "jq -r '\"postgres://\\(.username):\\(.password|@uri)@${server.host}:5432/postgres?sslmode=verify-full\"' |",
    "fleet server add ${name} --region ${var.region} --mode ${var.servers[name].tenant == null ? "shared" : "dedicated"} --url-stdin --wait",
  ]) }
}

data "aws_region" "this" {}
