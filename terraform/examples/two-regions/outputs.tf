output "first_steps" {
  description = "Command lines that make the fleet known to the CLI and to itself, in order. No secret stands in them."
  value = concat(
    [module.control_plane.context_add_command],
    [for name, app in local.apps : "fleet region create ${name} --jurisdiction ${upper(name)} --domain ${name}.${var.domain} --app-url https://${name}.${var.domain}"],
    flatten([for app in local.apps : values(app.region.server_add_commands)]),
    [for name, app in local.apps : join(" && ", [
      "fleet key create app-${name} --role app --region ${name} --token-file app-${name}.token",
      "aws secretsmanager put-secret-value --region ${local.aws_regions[name]} --secret-id '${app.region.app_token_secret_arn}' --secret-string file://app-${name}.token",
      "rm app-${name}.token",
    ])],
  )
}

output "registry" {
  description = "Host of the registry, the secret of its master, and the secret that wants the registry's URL."
  value = {
    host              = module.registry.host
    master_secret_arn = module.registry.master_secret_arn
    url_secret_arn    = module.registry.url_secret_arn
  }
}

output "dns_records" {
  description = "Host names and what each must point at; of a region, the name and all below it."
  value = merge(
    { (var.control_plane.host) = module.control_plane.load_balancer.dns_name },
    { for name, app in local.apps : "*.${name}.${var.domain}" => app.app.load_balancer.dns_name },
    { for name, app in local.apps : "${name}.${var.domain}" => app.app.load_balancer.dns_name },
  )
}

output "alarm_topics" {
  description = "Topics of alarms by region; subscribe whoever is on duty."
  value       = { for name, app in local.apps : name => app.alarms_topic_arn }
}

output "readable_by_app" {
  description = "What each region's app may read, by ARN; for checks of residency."
  value       = { for name, app in local.apps : name => app.app.readable_arns }
}

locals {
  apps = { eu = module.eu, us = module.us }
}
