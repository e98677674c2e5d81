output "host" {
  description = "Host name of the registry."
  value       = module.server.host
}

output "identifier" {
  description = "Identifier of the instance; for alarms."
  value       = module.server.identifier
}

output "url_secret_arn" {
  description = "Secret that the control plane reads the registry's URL from; empty until somebody writes it."
  value       = aws_secretsmanager_secret.url.arn
}

output "master_secret_arn" {
  description = "Secret with the master's password; needed once, to make the control plane's login."
  value       = module.server.master_secret_arn
}
