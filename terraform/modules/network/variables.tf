variable "name" {
  description = "Begins the names of all that is made, e.g. `fleet-eu`."
  type        = string
  validation {
    condition     = can(regex("^fleet-[a-z][a-z0-9-]{0,24}$", var.name))
    error_message = "The name begins with fleet- and has at most 30 small letters, digits and dashes."
  }
}

variable "cidr" {
  description = "IPv4 addresses of the network. Those of two regions that are peered must not overlap."
  type        = string
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "Give an IPv4 block of /16 to /20, such as 10.10.0.0/16: smaller ones have no room for twelve subnets."
  }
}

variable "availability_zones" {
  description = "The zones to use. A server with a standby needs two."
  type        = list(string)
  validation {
    condition     = length(distinct(var.availability_zones)) == length(var.availability_zones) && length(var.availability_zones) >= 2 && length(var.availability_zones) <= 4
    error_message = "Name two to four different zones."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow log."
  type        = string
  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "Give the ARN of a KMS key."
  }
}

variable "private_services" {
  description = "AWS services that get an endpoint in the network."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "kms", "logs", "rds", "secretsmanager"]
  validation {
    condition     = contains(var.private_services, "secretsmanager") && contains(var.private_services, "kms")
    error_message = "Secrets and keys must not leave the network: keep secretsmanager and kms."
  }
}

variable "log_retention_days" {
  description = "Days that the flow log is kept."
  type        = number
  default     = 365
  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 30, 60, 90, 180, 365, 400 or 731 days."
  }
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
